"""Labels of the user's own: tag."""

from pathlib import Path
from typing import Annotated

import typer

from searchx.cli.options import DeviceOption, JsonOption, LibraryOption, place, read_path
from searchx.cli.output import print_result, tell, working
from searchx.errors import BadInput


def tag(
    labels: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LABEL...",
            help='Words to give: dog, "dog: a dog; a puppy" with phrases that stand for it, '
            '"day | night" of which a picture gets one at most. By default those given last.',
            show_default=False,
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(parser=read_path, metavar="FILE", help="A file of labels, such a one a line."),
    ] = None,
    min_share: Annotated[
        float | None,
        typer.Option(
            help="Give a label where it fits with at least this chance, 0 to 1; 0.5 by default.",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        str, typer.Option(metavar="FILTERS", help="Only pictures that pass; the others stay.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be given, and give nothing.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take all tags away; what files say stays.")
    ] = False,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give pictures labels of your own, as keywords that searches and filters find."""
    from searchx.labels.classifier import LEAST
    from searchx.labels.vocabulary import Vocabulary
    from searchx.search import Library
    from searchx.terminal import tagged_lines

    if labels and vocabulary is not None:
        raise BadInput("labels come from the command line or from a file; give one of the two")
    given = Vocabulary.read(vocabulary) if vocabulary is not None else labels or None
    again = given is None
    if again and (where or min_share is not None) and not remove:
        raise BadInput("what was given last is given as it was then; name labels to change that")
    if remove and (not again or where or min_share is not None or dry_run):
        raise BadInput("--remove takes all tags away, and goes with no other option")
    with Library.open(place(library), device=device, announce=tell) as opened:
        if remove:
            with working("removing"):
                count = opened.drop_tags()
            print_result(as_json, {"removed": count}, [f"tags removed from {count:,} pictures"])
            return
        with working("tagging"):
            made = opened.tag(
                given,
                min_share=LEAST if min_share is None else min_share,
                where=where or None,
                dry_run=dry_run,
            )
    print_result(
        as_json, {**made.as_dict(), "dry_run": dry_run}, tagged_lines(made, dry_run=dry_run)
    )


def tag_new(library: Path | None, device: str) -> str | None:
    """Give new pictures the labels that were given last; gives a line about it, or nothing."""
    from contextlib import closing

    from searchx.catalog import Catalog
    from searchx.search import Library

    with closing(Catalog.open(place(library))) as catalog:
        if catalog.tagging() is None:
            return None
    with working("tagging"), Library.open(place(library), device=device) as opened:
        made = opened.tag_new()
    if made is None or not made.pictures:
        return None
    return f"tagged: {made.tagged:,} of {made.pictures:,} new pictures"
