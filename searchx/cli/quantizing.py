"""Models that compute pictures in 8 bits: models quantize."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from searchx.cli.bringing import NameArgument
from searchx.cli.options import JsonOption, LibraryOption, place, read_path
from searchx.cli.output import print_result, stoppable

if TYPE_CHECKING:
    from searchx.quantizing import Quantized

_STOPPED = "stopped; nothing was kept"


def quantize(
    name: NameArgument,
    pictures: Annotated[
        list[Path] | None,
        typer.Argument(
            parser=read_path,
            metavar="PICTURES...",
            help="Folders or files to calibrate on; by default the pictures of the library.",
            show_default=False,
        ),
    ] = None,
    captions: Annotated[
        list[Path] | None,
        typer.Option(
            parser=read_path,
            metavar="PAIRS",
            help='Pairs to judge by, as "searchx eval" takes them.',
            show_default=False,
        ),
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a model that computes pictures in 8 bits, and keep it where it finds as well."""
    from indexer.calibration import pictures_in, pictures_of
    from searchx.cli.meter import Meter
    from searchx.pairs import read_pairs
    from searchx.quantizing import check_tools, quantize
    from searchx.records import Pace
    from searchx.terminal import console

    check_tools()
    seen = 0

    def progress(done: int, total: int) -> None:
        nonlocal seen
        meter.found(total, 0)
        meter.done(done - seen, done - seen, 0, Pace())
        seen = done

    with stoppable(_STOPPED), Meter(console(stderr=True), "checking") as meter:
        pairs = read_pairs(captions) if captions else []
        found = pictures_in(pictures) if pictures else pictures_of(place(library))
        made = quantize(name, found, pairs, meter.say, progress)
    print_result(as_json, made.as_dict(), _lines(made))


def _lines(made: "Quantized") -> Iterator[str]:
    from searchx.terminal import visible

    name, base = visible(made.name), visible(made.base)
    yield f"{name} is made: pictures in 8 bits, texts as by {base}"
    unread = f"; {made.unreadable:,} cannot be read" if made.unreadable else ""
    yield f"calibrated on {made.calibrated:,} pictures, judged by {made.checked:,} others{unread}"
    if made.recall:
        yield from made.figures().split("; ")
        yield f"in the mean, {made.recall_words()}"
    if made.agreement is not None:
        yield (
            f"of the first ten answers to everyday questions, {made.agreement:.1%} are those of "
            f"{base}; this is agreement, --captions measures how well it finds"
        )
    yield (
        f"cosine to the vectors of {base}: {made.cosine:.3f} in the median, "
        f"{made.least_cosine:.3f} at least"
    )
    pace, size = made.images_per_second, made.tower_bytes
    yield (
        f"pace: {pace.before:,.1f} → {pace.after:,.1f} images/s, {pace.after / pace.before:.1f} "
        f"times; image tower: {size.before / 1e6:,.0f} → {size.after / 1e6:,.0f} MB"
    )
    yield f"a new library by it: searchx index --model {name} FOLDER"
    yield f"a library that is there: searchx migrate --to {name}"
