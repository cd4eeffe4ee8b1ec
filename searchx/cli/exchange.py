"""Vectors to and from other tools: export, import."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from searchx.cli.options import JsonOption, LibraryOption, ModelOption, place, read_path
from searchx.cli.output import print_json, print_lines, print_result, working
from searchx.errors import BadInput

if TYPE_CHECKING:
    from searchx.records import Kind

SHOWN = 5  # files

FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="parquet, npy, clip-retrieval, webdataset, hdf5 or faiss; else the path tells.",
        show_default=False,
    ),
]
KindOption = Annotated[
    str, typer.Option("--kind", metavar="image|text", help="Which vectors are meant.")
]


def export(
    to: Annotated[
        Path,
        typer.Argument(
            parser=read_path, metavar="TO", help="The file or folder to write.", show_default=False
        ),
    ],
    format: FormatOption = None,
    kind: KindOption = "image",
    where: Annotated[
        str | None, typer.Option(metavar="FILTERS", help="Only what passes these filters.")
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write vectors, and what is told of their items, for another tool."""
    from searchx.exchange import export as write
    from searchx.search import open_library
    from searchx.terminal import visible

    with working("exporting"), open_library(place(library)) as opened:
        done = write(opened, to.absolute(), format, _kind(kind), where=where)
    lines = [f"{done.format}: {done.items:,} items"]
    lines += [f"  {visible(str(file))}" for file in done.files[:SHOWN]]
    if len(done.files) > SHOWN:
        lines.append(f"  and {len(done.files) - SHOWN:,} more")
    if done.skipped:
        first = done.skipped[0]
        lines.append(f"left out: {len(done.skipped):,}, such as {first.path}: {first.reason}")
    print_result(as_json, done.as_dict(), [*lines, *done.notes])


def import_vectors(
    source: Annotated[
        Path,
        typer.Argument(
            parser=read_path, metavar="FROM", help="The file or folder to read.", show_default=False
        ),
    ],
    format: FormatOption = None,
    kind: KindOption = "image",
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="NAME", help="The column of ids.")
    ] = None,
    vector_column: Annotated[
        str | None, typer.Option("--vector", metavar="NAME", help="The column of vectors.")
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Where the ids belong: items, or texts for those of --kind text."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What to call vectors whose model searchx does not know."
        ),
    ] = None,
    model: ModelOption = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take vectors that another tool has made into a library, in place of those of equal ids.

    --model says which model made them, where the file does not; text queries need to know it.
    """
    from searchx.exchange import import_into, library_for, read
    from searchx.terminal import visible

    with working("importing"):
        chosen = _kind(kind)
        offer = read(source, format, chosen, id=id_column, vector=vector_column)
        with library_for(place(library), offer, model, name) as opened:
            report = import_into(opened, offer, kind=chosen, collection=collection, name=name)
    if as_json:
        print_json(report.as_dict())
        return
    print_lines(
        [
            f"{offer.format}: {report.added:,} added, {report.updated:,} updated, "
            f"{report.unchanged:,} as they were"
        ]
    )
    if report.skipped:
        first = report.skipped[0]
        line = f"left out: {len(report.skipped):,}, such as {first.path}: {first.reason}"
        print_lines([visible(line)])
    print_lines(visible(one) for one in offer.notes)


def _kind(typed: str) -> "Kind":
    from searchx.records import KINDS

    found = next((one for one in KINDS if one == typed), None)
    if found is None:
        raise BadInput(f'kind "{typed}" is not known; use image or text')
    return found
