"""Change the model of a library without a pause: migrate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from searchx.cli.options import (
    DeviceOption,
    DimOption,
    JsonOption,
    LibraryOption,
    place,
    spelled,
)
from searchx.cli.output import print_json, print_lines, print_result, stoppable, working
from searchx.errors import BadInput

if TYPE_CHECKING:
    from indexer.migrating import Settings

STOPPED = 'stopped; what was embedded is kept, "searchx migrate" goes on with it'
_NICE = 10  # less of the processor than who asks gets, where there is not enough for both


def migrate(
    to: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help='The model that is to take over, see "searchx models"; by default the one that a '
            "migration is under way to.",
            show_default=False,
        ),
    ] = None,
    dim: DimOption = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01, metavar="N", help="Embed at most so many items a second; by default all."
        ),
    ] = None,
    without_missing: Annotated[
        bool,
        typer.Option(
            "--without-missing",
            help="Switch although some items cannot be read; they are not found until they can.",
        ),
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the model before.")
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Drop the vectors of the model before.")
    ] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Give a migration up, and drop what it has embedded.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Tell how far a migration is, or what is kept.")
    ] = False,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change the library to another model while it is searched and indexed."""
    directory = place(library)
    if dim is not None:
        from indexer.pipeline import model_of_dim

        to = model_of_dim(directory, to, dim)
    _check_one(to=to is not None, rollback=rollback, drop=drop_old, abandon=abandon, status=status)
    if status:
        _tell(directory, as_json)
    elif drop_old or abandon:
        _drop(directory, drop_old, as_json)
    else:
        from indexer.migrating import Settings

        settings = Settings(rate=rate, without_missing=without_missing)
        _run(directory, to, rollback, device, settings, spelled(library), as_json)


def _run(
    directory: Path,
    to: str | None,
    rollback: bool,
    device: str,
    settings: "Settings",
    library: str,
    as_json: bool,
) -> None:
    import os

    from indexer import migrating
    from searchx.cli.meter import Meter
    from searchx.terminal import console, migrated_lines

    if hasattr(os, "nice"):
        os.nice(_NICE)
    with stoppable(STOPPED), Meter(console(stderr=True), "migrating") as meter:
        if rollback:
            made = migrating.roll_back(directory, None, device, meter, meter.say, settings=settings)
        else:
            made = migrating.migrate(directory, to, device, meter, meter.say, settings=settings)
    if as_json:
        print_json(made.as_dict())
    else:
        print_lines(migrated_lines(made, library))
    if not made.switched:
        raise BadInput(
            f"items that could not be embedded: {len(made.missing)}; make their files readable and "
            "run it again, or switch without them by --without-missing"
        )


def _tell(directory: Path, as_json: bool) -> None:
    from searchx.search import Library
    from searchx.terminal import migration_text

    with Library.open(directory) as opened:
        model, found = opened.space.name, opened.status(whole=False).migration
    lines = [f"searched by {model}"] + ([] if found is None else [migration_text(found)])
    document = {"model": model, "migration": found and found.as_dict()}
    print_result(as_json, document, lines)


def _drop(directory: Path, has_served: bool, as_json: bool) -> None:
    from searchx.spaces.switching import drop_other
    from searchx.terminal import visible

    with working("dropping"):
        space, vectors = drop_other(directory, has_served=has_served)
    line = f"dropped: the vectors of {visible(space.name)} (items: {vectors:,})"
    print_result(as_json, {"model": space.name, "vectors": vectors}, [line])


def _check_one(**given: bool) -> None:
    """Make sure that one thing is asked for; raises BadInput."""
    if sum(given.values()) > 1:
        raise BadInput(
            "give one of --to, --rollback, --drop-old, --abandon and --status, they are different "
            "things to do"
        )
