"""What goes into a library and out of it: index, forget, source move."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from searchx.cli.labels import tag_new
from searchx.cli.options import (
    DeviceOption,
    DimOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    VerboseOption,
    place,
    read_path,
    spelled,
)
from searchx.cli.output import (
    print_json,
    print_lines,
    print_result,
    stoppable,
    verbosely,
    working,
)
from searchx.errors import BadInput

if TYPE_CHECKING:
    from indexer.planning import Options
    from indexer.rules import Rules
    from searchx.records import Report

STOPPED = "stopped; what was indexed so far is kept, run the same command again to go on"


def index(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            parser=read_path,
            metavar="PATH",
            help="Folders, pictures, texts, corpus files; by default all sources of the library.",
            show_default=False,
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Forget also what a missing or empty source held.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read all files, also those of unchanged size and time.")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try files again that were skipped.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on and follow changes until it is stopped.")
    ] = False,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Index only what fits; may be repeated."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Leave out what fits; may be repeated."),
    ] = None,
    text_column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A column of texts in a corpus file; may be repeated."),
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column of pictures in a corpus file.")
    ] = None,
    model: ModelOption = None,
    dim: DimOption = None,
    device: DeviceOption = "auto",
    verbose: VerboseOption = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index images and texts. Run again after changes, it reads only what is new."""
    from indexer.pipeline import index_into, model_of_dim
    from indexer.planning import Options
    from searchx.cli.meter import Meter
    from searchx.terminal import console, report_lines

    model = model_of_dim(place(library), model, dim)
    options = Options(prune=prune, deep=deep, retry=retry)
    rules = _rules(include, exclude, text_column, image_column)
    if watch:
        with verbosely(verbose):
            _watch(place(library), paths or (), model, device, options, rules, as_json)
        return
    shown = Meter(console(stderr=True), "indexing")
    with stoppable(STOPPED), verbosely(verbose), shown as meter:
        report = index_into(
            place(library),
            paths or (),
            model,
            device,
            meter,
            meter.say,
            options=options,
            rules=rules,
        )
    tagged = tag_new(library, device)
    named = spelled(library)
    if as_json:
        print_json(report.as_dict())
    else:
        print_lines(report_lines(report, f"searchx status{named} --skipped"))
        print_lines([tagged] if tagged else [])
    _check_any_was_read(paths or (), report)
    if as_json:
        return
    print_lines(("", f'next: searchx search{named} "what you look for"'))
    print_lines((f"      searchx serve{named}",))


def _check_any_was_read(paths: Sequence[Path], report: "Report") -> None:
    """Fail where all that was named are files, and each was refused; raises BadInput."""
    reasons = {one.path: one.reason for one in report.skipped}
    named = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - as the indexer does
    if named and all(path in reasons and not os.path.isdir(path) for path in named):  # noqa: PTH112
        raise BadInput(f"{named[0]} was not indexed: {reasons[named[0]]}")


def forget(
    source: Annotated[
        Path,
        typer.Argument(
            parser=read_path,
            metavar="PATH",
            help='A source, as "searchx status" lists it.',
            show_default=False,
        ),
    ],
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget a source. Its files stay where they are."""
    from searchx import upkeep
    from searchx.terminal import visible

    root = os.path.abspath(source)  # noqa: PTH100 - links stay; the place itself may be gone
    with working("forgetting"):
        files = upkeep.forget(place(library), root)
    line = f"forgotten: {visible(root)} (files: {files:,})"
    print_result(as_json, {"source": root, "files": files}, [line])


def move_source(
    old: Annotated[
        Path,
        typer.Argument(
            parser=read_path, metavar="OLD", help="The source as it was.", show_default=False
        ),
    ],
    new: Annotated[
        Path,
        typer.Argument(
            parser=read_path, metavar="NEW", help="Where its files are now.", show_default=False
        ),
    ],
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell where a source is now. Nothing is read again."""
    from searchx import upkeep
    from searchx.terminal import visible

    before, after = os.path.abspath(old), os.path.abspath(new)  # noqa: PTH100 - links stay
    with working("moving"):
        files = upkeep.move_source(place(library), before, after)
    line = f"moved: {visible(before)} to {visible(after)} (files: {files:,})"
    print_result(as_json, {"old": before, "new": after, "files": files}, [line])


def _watch(
    library: Path,
    paths: Sequence[Path],
    model: str | None,
    device: str,
    options: "Options",
    rules: "Rules | None",
    as_json: bool,
) -> None:
    from indexer import watching
    from searchx.cli.following import Follower
    from searchx.cli.meter import Meter
    from searchx.terminal import console

    with stoppable("stopped", code=0), Meter(console(stderr=True), "indexing") as meter:
        watching.watch(
            library,
            paths,
            model,
            device,
            meter,
            meter.say,
            options=options,
            rules=rules,
            told=Follower(meter, as_json).told,
        )


def _rules(
    include: Sequence[str] | None,
    exclude: Sequence[str] | None,
    text_columns: Sequence[str] | None,
    image_column: str | None,
) -> "Rules | None":
    """Give the rules that were typed; None where none was, for the source keeps its own."""
    if not include and not exclude and not text_columns and image_column is None:
        return None
    from indexer.rules import Rules

    return Rules(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        text_columns=tuple(text_columns or ()),
        image_column=image_column,
    )
