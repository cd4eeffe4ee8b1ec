"""Models that come and go: models pull, models import, models export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from searchx.cli.options import JsonOption, read_path
from searchx.cli.output import print_result, stoppable

if TYPE_CHECKING:
    from searchx.bringing import Brought

_STOPPED = "stopped; run the same command again to go on"

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help='A model, see "searchx models".', show_default=False)
]


def pull(name: NameArgument, as_json: JsonOption = False) -> None:
    """Download a model where it is not here yet, check its files, and prepare it."""
    from searchx import bringing
    from searchx.cli.meter import Meter
    from searchx.terminal import console

    with stoppable(_STOPPED), Meter(console(stderr=True), "loading") as meter:
        found = bringing.pull(name, meter.say)
    _tell(found, as_json)


def import_model(
    source: Annotated[
        Path,
        typer.Argument(
            parser=read_path,
            metavar="DIR|FILE",
            help='A model directory, or what "searchx models export" wrote.',
            show_default=False,
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Bring a model to this machine as files. It is found by its name, without a network."""
    from searchx import bringing
    from searchx.cli.meter import Meter
    from searchx.terminal import console

    with stoppable(_STOPPED), Meter(console(stderr=True), "loading") as meter:
        found = bringing.import_model(source, meter.say)
    _tell(found, as_json)


def export_model(
    name: NameArgument,
    to: Annotated[
        Path,
        typer.Argument(
            parser=read_path,
            metavar="TO",
            help="A new directory, or one file where it ends in .tar.",
            show_default=False,
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Write a model as files, to take it to a machine without a network."""
    from searchx import bringing
    from searchx.cli.meter import Meter
    from searchx.terminal import console, visible

    with stoppable(_STOPPED), Meter(console(stderr=True), "loading") as meter:
        made = bringing.export_model(name, to, meter.say)
    print_result(as_json, {"model": name, "file": str(made)}, [visible(str(made))])


def _tell(found: "Brought", as_json: bool) -> None:
    from searchx.terminal import visible

    checked = f", {found.checked} files as they were sent" if found.checked else ""
    line = f"{visible(found.name)} is here: {found.dim} dimensions, weights {found.digest[:8]}"
    print_result(as_json, found.as_dict(), [f"{line}{checked}", f"computed by {found.runtime}"])
