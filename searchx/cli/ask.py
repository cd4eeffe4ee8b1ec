"""What a library answers: search, serve, status."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from searchx.cli.options import JsonOption, LibraryOption, place, read_path, spelled
from searchx.cli.output import print_json, print_lines, stoppable, tell
from searchx.errors import BadInput


def search(
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT", help="What to look for, in the query language.", show_default=False
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(parser=read_path, metavar="FILE", help="Look for what is like this picture."),
    ] = None,
    like: Annotated[
        int | None,
        typer.Option(metavar="ID", help="Look for more like this item of the library."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=10_000, help="How many hits.")] = 10,
    to: Annotated[
        Literal["image", "text", "both"],
        typer.Option(help="What to find, unless TEXT says so itself."),
    ] = "image",
    where: Annotated[
        str | None,
        typer.Option(metavar="FILTERS", help="What a hit has to be, such as folder:trips 2019."),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="CURSOR", help="Give the page after the one with this cursor."),
    ] = None,
    group: Annotated[
        bool, typer.Option("--group", help="Give near duplicates as one hit.")
    ] = False,
    diverse: Annotated[
        float,
        typer.Option("--diverse", min=0, max=1, help="Prefer hits that are unlike each other."),
    ] = 0.0,
    random: Annotated[bool, typer.Option("--random", help="Give items at random instead.")] = False,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Give the same items at random again."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell how it was searched, and what hits are worth.")
    ] = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search the library, best hits first. A text, a picture and an item can be combined."""
    asked = {"TEXT": text is not None, "--image": image is not None, "--like": like is not None}
    how = {"--after": after is not None, "--group": group, "--diverse": diverse > 0}
    if random:
        _check_random(asked | how | {"--explain": explain}, to)
    elif seed is not None:
        raise typer.BadParameter("--seed goes with --random")
    elif not any(asked.values()) and where is None:
        raise typer.BadParameter("give TEXT, --image, --like, --where or --random")
    elif after is not None and diverse > 0:
        raise typer.BadParameter("--diverse gives one page; leave out --after, and set -k higher")
    if like is not None and not 0 < like < 2**63:
        raise BadInput(f"there is no item {like} in this library")
    from searchx.cli import hits
    from searchx.cli.meter import Meter
    from searchx.search import Library
    from searchx.terminal import console

    meter = Meter(console(stderr=True), "searching")
    with Library.open(place(library), announce=meter.say) as opened:
        if random:
            kind: Literal["image", "text"] = "text" if to == "text" else "image"
            return hits.print_sample(opened, k, kind, where, seed, as_json)
        typed = hits.Asked(text or "", image, like, to, k, where, after, group, diverse)
        query = typed.query()
        with meter:
            answer = typed.answer(opened, query)
    return hits.print_answer(typed, query, answer, as_json, explain)


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
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="How many processes answer, each with the model.")
    ] = 1,
    log_queries: Annotated[
        bool, typer.Option("--log-queries", help="Log what is searched for, too.")
    ] = False,
    library: LibraryOption = None,
) -> None:
    """Serve the library as a web page and an HTTP API."""
    # Queries are answered side by side: threads inside each product would only get in their way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from searchx.search import Library
    from web import serving

    secret = _secret(token)
    if secret is None and not serving.is_this_machine(host):
        raise BadInput(
            f"{host} can be reached by other machines; set a --token for them, "
            "or leave --host at 127.0.0.1"
        )
    settings = serving.Settings(place(library), secret, log_queries)
    with (
        stoppable("stopped", code=0),
        Library.open(settings.directory, announce=tell, patience=serving.PATIENCE) as opened,
        serving.listening(host, port) as listener,
    ):
        opened.check()
        tell(f"searchx serves on {serving.address(listener)} (stop with Ctrl-C)")
        if workers == 1:
            serving.serve(opened, listener, settings)
        else:
            serving.serve_by_several(listener, settings, workers)


def status(
    skipped: Annotated[
        bool, typer.Option("--skipped", help="List every skipped file with its reason.")
    ] = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what the library holds, and what was skipped and why."""
    from searchx.search import Library
    from searchx.terminal import skipped_lines, status_lines

    with Library.open(place(library)) as opened:
        state = opened.status()
    if as_json:
        print_json(state.as_dict())
    elif not skipped:
        print_lines(status_lines(state, f"searchx status{spelled(library)} --skipped"))
    elif state.skipped:
        print_lines(skipped_lines(state.skipped))
    else:
        tell("no file was skipped")


def _check_random(others: Mapping[str, bool], to: str) -> None:
    """Make sure that nothing is asked beside items at random; raises BadParameter."""
    given = [name for name, is_given in others.items() if is_given]
    if given:
        raise typer.BadParameter(
            f"--random goes with -k, --to, --where and --seed, not with {', '.join(given)}"
        )
    if to == "both":
        raise typer.BadParameter("--random gives one kind; set --to to image or text")


def _secret(token: str | None) -> str | None:
    """Give the token as everyone can type it, without outer spaces; None where none is set."""
    secret = (token or "").strip()
    if (token and not secret) or not secret.isprintable():
        raise BadInput("the token cannot be typed; make it of letters, digits and signs")
    return secret or None
