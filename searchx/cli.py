"""The commands. The one place that prints and exits.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 an error told in one line,
2 wrong usage, 130 stopped. What is heavy is imported inside the commands.
"""

import io
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from searchx.errors import BadInput, SearchxError

STOPPED_INDEXING = "stopped; what was indexed so far is kept, run the same command again to go on"
STOPPED_TRAINING = "stopped; run the same command again to go on from the last checkpoint"

app = typer.Typer(
    name="searchx",
    help="Search your own images and texts by meaning: describe it, find it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _path(typed: str) -> Path:
    """Read a path. An empty one would mean the folder here, which nobody has named."""
    if not typed:
        raise BadInput('a path is empty; name a file or a folder ("." is the one you are in)')
    return Path(typed)


LibraryOption = Annotated[
    Path | None,
    typer.Option(
        "--library",
        parser=_path,
        metavar="DIR",
        envvar="SEARCHX_LIBRARY",
        help="The library; by default in your user data folder.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where the model computes.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help='A model, see "searchx models"; by default the library\'s own, or mini.',
        show_default=False,
    ),
]
PairsArgument = Annotated[
    list[Path],
    typer.Argument(
        parser=_path,
        metavar="PAIRS...",
        help="captions.jsonl, a folder that holds one, webdataset .tar, or .parquet.",
        show_default=False,
    ),
]


def main() -> None:
    """Run the command that was typed; never returns."""
    _hush()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may hold what its encoding has not
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command and give its exit code."""
    try:
        app(list(arguments), prog_name="searchx")
    except SearchxError as error:
        _tell(f"searchx: {error}")
        return 1
    except OSError as error:  # a full disk, a folder that cannot be written
        which = f"{error.filename}: " if error.filename else ""
        _tell(f"searchx: {which}{error.strerror or error}")
        return 1
    except SystemExit as end:
        return _flushed(end.code if isinstance(end.code, int) else 0)
    return _flushed(0)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"searchx {version('searchx')}")
        except PackageNotFoundError:
            print("searchx, from a checkout that is not installed")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    """Search your own images and texts by meaning: describe it, find it."""


@app.command()
def index(
    paths: Annotated[
        list[Path],
        typer.Argument(
            parser=_path,
            metavar="PATH...",
            help="Folders, pictures, .txt, .md or .jsonl files.",
            show_default=False,
        ),
    ],
    model: ModelOption = None,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index images and texts; run it again after changes: only what is new is read."""
    from indexer.pipeline import index_into
    from searchx import terminal

    with (
        _stoppable(STOPPED_INDEXING),
        terminal.Meter(terminal.console(stderr=True), "indexing") as meter,
    ):
        report = index_into(_place(library), paths, model, device, meter, meter.say)
    if as_json:
        _print_json(report.as_dict())
    else:
        _print_lines(terminal.report_lines(report))
        print(f'\nnext: searchx search{_spelled(library)} "what you look for"')
        print(f"      searchx serve{_spelled(library)}")


@app.command()
def search(
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="What to look for, in words.", show_default=False),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(parser=_path, metavar="FILE", help="Look for what is like this picture."),
    ] = None,
    like: Annotated[
        int | None,
        typer.Option(metavar="ID", help="Look for more like this item of the library."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=10_000, help="How many hits.")] = 10,
    to: Annotated[Literal["image", "text"], typer.Option(help="What to find.")] = "image",
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search the library, best hits first. A text, a picture and an item can be combined."""
    if text is None and image is None and like is None:
        raise typer.BadParameter("give TEXT, --image or --like")
    if like is not None and not 0 < like < 2**63:
        raise BadInput(f"there is no item {like} in this library")
    from searchx import terminal
    from searchx.images import open_image
    from searchx.records import Query
    from searchx.search import Library

    text = (text or "").encode("utf-8", "replace").decode()  # a shell may pass any bytes
    meter = terminal.Meter(terminal.console(stderr=True), "searching")
    with Library.open(_place(library), announce=meter.say) as opened:
        if image is not None:
            open_image(image, at_least=1)  # a wrong file is told before the model is loaded
        with meter:
            hits = opened.search(Query(text, image, like), k, to)
    if as_json:
        asked = {"text": text, "image": image and str(image), "like": like, "to": to, "k": k}
        _print_json({"query": asked, "hits": [hit.as_dict() for hit in hits]})
    elif not hits:
        _tell(f"nothing found: the library holds no {to} to compare with")
    else:
        console = terminal.console()
        for hit in hits:
            console.print(terminal.hit_line(hit, Path.cwd()))


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="The address to answer on; others than this machine need --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes any free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="SEARCHX_TOKEN",
            help="A secret that everyone who asks must know.",
            show_default=False,
        ),
    ] = None,
    library: LibraryOption = None,
) -> None:
    """Serve the library as a web page and an HTTP API."""
    from searchx import terminal
    from searchx.search import Library
    from web import serving

    secret = _secret(token)
    if secret is None and not serving.is_this_machine(host):
        raise BadInput(
            f"{host} can be reached by other machines; set a --token for them, "
            "or leave --host at 127.0.0.1"
        )
    meter = terminal.Meter(terminal.console(stderr=True), "loading")
    with (
        _stoppable("stopped", code=0),
        Library.open(_place(library), announce=meter.say) as opened,
        serving.listening(host, port) as listener,
    ):
        with meter:
            opened.encoder  # noqa: B018 - a model that cannot be had is told now, not later
        _tell(f"searchx serves on {serving.address(listener)} (stop with Ctrl-C)")
        serving.serve(opened, listener, secret)


@app.command()
def status(library: LibraryOption = None, as_json: JsonOption = False) -> None:
    """Tell what the library holds, and which files were skipped and why."""
    from searchx import terminal
    from searchx.search import Library

    with Library.open(_place(library)) as opened:
        state = opened.status()
    if as_json:
        _print_json(state.as_dict())
    else:
        _print_lines(terminal.status_lines(state))


@app.command("eval")
def evaluate(
    pairs: PairsArgument,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how well a model brings pictures and their captions together."""
    from indexer.pipeline import model_of
    from searchx import evaluation, terminal
    from searchx.encoder import load_encoder
    from searchx.pairs import read_pairs

    read = read_pairs(pairs)
    with (
        _stoppable("stopped"),
        terminal.Meter(terminal.console(stderr=True), "measuring") as meter,
    ):
        encoder = load_encoder(model or model_of(_place(library)), device, meter.say)
        meter.found(len(read), 0)
        result = evaluation.evaluate(encoder, read, lambda n: meter.done(n, n, 0))
    if as_json:
        _print_json(result.as_dict())
    else:
        terminal.console().print(terminal.evaluation_table(result))


@app.command()
def train(
    pairs: PairsArgument,
    out: Annotated[
        Path, typer.Option(parser=_path, metavar="DIR", help="Where the model is kept.")
    ],
    model: ModelOption = None,
    method: Annotated[
        Literal["head", "full"],
        typer.Option(help="Train the projections only, or all of both towers."),
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
    unlock_image: Annotated[
        int | None,
        typer.Option(min=0, help="Last layer groups of the image tower to train; by default all."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            parser=_path, metavar="FILE", help="An image tower in ONNX form to learn from."
        ),
    ] = None,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
) -> None:
    """Train a model on pairs; run it again after a stop to go on. Prints the model's directory."""
    from indexer.pipeline import model_of
    from searchx.pairs import read_pairs

    read = read_pairs(pairs)
    with _stoppable(STOPPED_TRAINING):
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
        )
        made = training.train(model or model_of(_place(library)), read, settings, _tell)
    print(made)


@app.command()
def models(library: LibraryOption = None, as_json: JsonOption = False) -> None:
    """List models by purpose; * marks the one that the library uses."""
    from dataclasses import asdict

    from indexer.pipeline import model_of
    from searchx import terminal
    from searchx.encoder import PRESETS

    place = _place(library)
    used = model_of(place) if place.is_dir() else None
    presets = {preset: preset.model == used for preset in PRESETS}
    if as_json:
        listed = [asdict(preset) | {"in_use": mark} for preset, mark in presets.items()]
        _print_json({"models": listed})
    else:
        terminal.console().print(terminal.presets_table(presets))


def _hush() -> None:
    """Keep what libraries say beside the point off the terminal; call before they are imported.

    Who has set one of these switches keeps it: python -W, TRANSFORMERS_VERBOSITY and so on.
    """
    import logging
    import warnings

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # damaged EXIF, deprecations inside torch
    logging.getLogger().addHandler(logging.NullHandler())  # open_clip logs to the root
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _place(library: Path | None) -> Path:
    """Give the directory of the library: as asked for, else in the user's data folder."""
    if library is not None:
        try:
            return library.expanduser().absolute()
        except RuntimeError:
            raise BadInput(
                f'{library} names the home of a user that is not known; write "./~" for a folder '
                "of that name"
            ) from None
    import platformdirs

    return platformdirs.user_data_path("searchx", appauthor=False)


def _secret(token: str | None) -> str | None:
    """Give the token as everyone can type it, without outer spaces; None where none is set."""
    secret = (token or "").strip()
    if (token and not secret) or not secret.isprintable():
        raise BadInput("the token cannot be typed; make it of letters, digits and signs")
    return secret or None


def _spelled(library: Path | None) -> str:
    """Repeat --library for a command that is suggested, where it was typed."""
    import shlex

    from searchx.terminal import visible

    if library is None or os.environ.get("SEARCHX_LIBRARY") == str(library):
        return ""
    return f" --library {shlex.quote(visible(str(library)))}"


def _print_json(document: Mapping[str, object]) -> None:
    print(json.dumps(document, indent=2))


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _tell(line: str) -> None:
    from searchx.terminal import visible

    print(visible(line), file=sys.stderr)


def _flushed(code: int) -> int:
    """Give the exit code; a reader that went away, such as ``head``, is no failure to report."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


@contextmanager
def _stoppable(line: str, code: int = 130) -> Iterator[None]:
    """End with a line and an exit code on Ctrl-C, and on SIGTERM just as well."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        _tell(line)
        raise typer.Exit(code) from None
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    main()
