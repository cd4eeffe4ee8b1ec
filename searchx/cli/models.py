"""What is done with models: eval, train, models."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from searchx.cli.options import (
    DeviceOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    place,
    read_path,
)
from searchx.cli.output import print_json, print_lines, stoppable, tell
from searchx.errors import BadInput

if TYPE_CHECKING:
    from searchx.training.links import Resolve

STOPPED_TRAINING = "stopped; run the same command again to go on from the last checkpoint"

PairsArgument = Annotated[
    list[Path],
    typer.Argument(
        parser=read_path,
        metavar="PAIRS...",
        help="captions.jsonl, a folder that holds one, webdataset .tar, or .parquet.",
        show_default=False,
    ),
]


SomePairsArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        parser=read_path,
        metavar="PAIRS...",
        help="captions.jsonl, a folder that holds one, webdataset .tar, or .parquet.",
        show_default=False,
    ),
]


def evaluate(
    pairs: SomePairsArgument = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="A B",
            help="Compare two models on the same pairs; by default on the library's own captions.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how well a model brings pictures and captions together, or which of two does."""
    if compare is not None:
        if model is not None:
            raise BadInput("give either --model or --compare, which names two")
        _compare(pairs or (), compare, device, place(library), as_json)
        return
    if not pairs:
        raise typer.BadParameter("name PAIRS to measure by; only --compare takes the library's")
    from indexer.pipeline import model_of
    from searchx import evaluation
    from searchx.cli.meter import Meter
    from searchx.encoder import load_encoder
    from searchx.pairs import read_pairs
    from searchx.records import Pace
    from searchx.terminal import console, evaluation_table

    read = read_pairs(pairs)
    with stoppable("stopped"), Meter(console(stderr=True), "measuring") as meter:
        encoder = load_encoder(model or model_of(place(library)), device, meter.say)
        meter.found(len(read), 0)
        result = evaluation.evaluate(encoder, read, lambda n: meter.done(n, n, 0, Pace()))
    if as_json:
        print_json(result.as_dict())
    else:
        console().print(evaluation_table(result))


def _compare(
    pairs: Sequence[Path], models: tuple[str, str], device: str, library: Path, as_json: bool
) -> None:
    from searchx import comparing
    from searchx.catalog import Catalog
    from searchx.cli.meter import Meter
    from searchx.encoder import load_encoder
    from searchx.pairs import read_pairs
    from searchx.records import Pace
    from searchx.terminal import comparison_table, console

    if pairs:
        read, left_out = read_pairs(pairs), 0
    else:
        with closing(Catalog.open(library)) as catalog:
            read, left_out = comparing.pairs_of(catalog)
    with stoppable("stopped"), Meter(console(stderr=True), "measuring") as meter:
        loads = [partial(load_encoder, name, device, meter.say) for name in models]
        meter.found(2 * len(read), 0)
        result = comparing.compare(loads, read, lambda n: meter.done(n, n, 0, Pace()))
    if left_out:
        tell(f"pictures that cannot be read now were left out: {left_out:,}")
    if as_json:
        print_json(result.as_dict())
        return
    console().print(comparison_table(result))
    print_lines(("", *result.sentences()))


def train(
    pairs: SomePairsArgument = None,
    *,
    out: Annotated[
        Path, typer.Option(parser=read_path, metavar="DIR", help="Where the model is kept.")
    ],
    model: ModelOption = None,
    method: Annotated[
        Literal["head", "full", "lora", "bitfit", "prompt"],
        typer.Option(
            help="Train the projections only, all of both towers, or little in them: matrices of "
            "low rank, biases, or tokens before each text."
        ),
    ] = "full",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pairs, at most.")] = 10,
    batch: Annotated[
        int | None, typer.Option(min=2, help="Pairs a step; chosen by the method.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="The highest learning rate; chosen by the method.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same order and start.")] = 0,
    validation: Annotated[
        float, typer.Option(help="Share of the pairs that is only measured on.")
    ] = 0.02,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without gain before it ends.")] = 3,
    validation_pairs: Annotated[
        list[Path] | None,
        typer.Option(
            parser=read_path, metavar="PAIRS", help="Pairs to measure on instead of that share."
        ),
    ] = None,
    interactions: Annotated[
        Path | None,
        typer.Option(
            parser=read_path,
            metavar="FILE",
            help="Pictures that belong together, by path or id: .parquet, .csv or .tsv.",
        ),
    ] = None,
    hard_negatives: Annotated[
        int,
        typer.Option(min=0, help="Near neighbours that stand beside each pair in its batch."),
    ] = 0,
    rank: Annotated[int, typer.Option(min=1, help="Of the matrices that lora adds.")] = 8,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens that prompt learns.")] = 8,
    unlock_image: Annotated[
        int | None,
        typer.Option(min=0, help="Last layer groups of the image tower to train; by default all."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            parser=read_path, metavar="FILE", help="An image tower in ONNX form to learn from."
        ),
    ] = None,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
) -> None:
    """Train a model on pairs; run it again after a stop to go on. Prints the model's directory."""
    from indexer.pipeline import model_of
    from searchx.pairs import read_pairs

    if not pairs and interactions is None:
        raise BadInput("there is nothing to train on; give PAIRS, --interactions, or both")
    read, measured = read_pairs(pairs or []), read_pairs(validation_pairs or [])
    with stoppable(STOPPED_TRAINING):
        from searchx import training

        settings = training.Settings(
            out=out,
            method=method,
            epochs=epochs,
            batch=batch,
            rate=rate,
            seed=seed,
            validation=validation,
            patience=patience,
            unlock_image=unlock_image,
            teacher=teacher,
            device=device,
            rank=rank,
            prompt=prompt,
            hard_negatives=hard_negatives,
        )
        links = None
        if interactions is not None:
            links = training.read_links(interactions, _pictures_in(library))
        made = training.train(
            model or model_of(place(library)),
            read,
            settings,
            tell,
            validation=measured,
            links=links,
        )
    print_lines([str(made)])


def _pictures_in(library: Path | None) -> "Resolve":
    """Find the pictures of ids in the library, which is opened only when it is asked."""

    def found(ids: Sequence[int]) -> dict[int, Path | bytes]:
        from searchx.catalog import Catalog
        from searchx.contents import open_content

        with closing(Catalog.open(place(library))) as catalog:
            items = catalog.items(ids)
        places = {one.id: one.locations[0] for one in items.values() if one.kind == "image"}
        return {
            id: open_content(where) if where.fragment else Path(where.path)
            for id, where in places.items()
        }

    return found


def list_models(
    context: typer.Context, library: LibraryOption = None, as_json: JsonOption = False
) -> None:
    """List models by purpose; * marks the one that the library uses."""
    if context.invoked_subcommand is not None:
        return
    from dataclasses import asdict

    from indexer.pipeline import model_of
    from searchx.eightbit import eight_bit_models
    from searchx.presets import PRESETS, in_eight_bits
    from searchx.terminal import console, presets_table

    directory = place(library)
    used = model_of(directory) if directory.is_dir() else None
    made = [in_eight_bits(one.name, one.base) for one in eight_bit_models()]
    presets = {preset: preset.model == used for preset in (*PRESETS, *made)}
    if as_json:
        listed = [asdict(preset) | {"in_use": mark} for preset, mark in presets.items()]
        print_json({"models": listed})
    else:
        console().print(presets_table(presets))
