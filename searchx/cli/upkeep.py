"""How a library is kept well: verify, repair, compact, backup, restore."""

from pathlib import Path
from typing import Annotated

import typer

from searchx.cli.options import JsonOption, LibraryOption, place, read_path
from searchx.cli.output import print_result, working

BackupArgument = Annotated[
    Path, typer.Argument(parser=read_path, metavar="FILE", help="The backup.", show_default=False)
]


def verify(library: LibraryOption = None, as_json: JsonOption = False) -> None:
    """Check the library and say what to do. Exits with 1 where something is wrong."""
    from searchx import upkeep
    from searchx.terminal import verdict_lines

    with working("checking"):
        verdict = upkeep.verify(place(library))
    print_result(as_json, verdict.as_dict(), verdict_lines(verdict))
    if verdict.problems:
        raise typer.Exit(1)


def repair(library: LibraryOption = None, as_json: JsonOption = False) -> None:
    """Build anew what is derived from the catalog. Says what was done."""
    from searchx import upkeep
    from searchx.terminal import visible

    with working("repairing"):
        steps = upkeep.repair(place(library))
    lines = [visible(step) for step in steps] or ["nothing to repair"]
    print_result(as_json, {"done": steps}, lines)


def compact(library: LibraryOption = None, as_json: JsonOption = False) -> None:
    """Give back the space of what was forgotten or replaced."""
    from rich.filesize import decimal

    from searchx import upkeep

    with working("compacting"):
        before, after = upkeep.compact(place(library))
    line = f"compacted: {decimal(before)} before, {decimal(after)} now"
    print_result(as_json, {"before": before, "after": after}, [line])


def backup(
    file: BackupArgument, library: LibraryOption = None, as_json: JsonOption = False
) -> None:
    """Write the library into one file. It may be in use meanwhile."""
    from rich.filesize import decimal

    from searchx import upkeep
    from searchx.terminal import visible

    file = file.absolute()
    with working("backing up"):
        size = upkeep.backup(place(library), file)
    line = f"backup: {visible(str(file))} ({decimal(size)})"
    print_result(as_json, {"file": str(file), "bytes": size}, [line])


def restore(
    file: BackupArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a library that is there already.")
    ] = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a library of a backup."""
    from searchx import upkeep
    from searchx.terminal import visible

    directory = place(library)
    with working("restoring"):
        upkeep.restore(file.absolute(), directory, force)
    line = f"restored: {visible(str(directory))}"
    print_result(as_json, {"library": str(directory)}, [line])
