"""What a library answers: search, serve, status."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from searchx.cli.options import JsonOption, LibraryOption, place, read_path, spelled
from searchx.cli.output import print_json, print_lines, stoppable, tell
from searchx.errors import BadInput


def search(
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="What to look for, in words.", show_default=False),
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
    to: Annotated[Literal["image", "text"], typer.Option(help="What to find.")] = "image",
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search the library, best hits first. A text, a picture and an item can be combined."""
    if text is None and image is None and like is None:
        raise typer.BadParameter("give TEXT, --image or --like")
    if like is not None and not 0 < like < 2**63:
        raise BadInput(f"there is no item {like} in this library")
    from searchx.cli.meter import Meter
    from searchx.pictures.images import open_image
    from searchx.records import Query
    from searchx.search import Library
    from searchx.terminal import console, hit_line

    text = (text or "").encode("utf-8", "replace").decode()  # a shell may pass any bytes
    meter = Meter(console(stderr=True), "searching")
    with Library.open(place(library), announce=meter.say) as opened:
        if image is not None:
            open_image(image, at_least=1)  # a wrong file is told before the model is loaded
        with meter:
            hits = opened.search(Query(text, image, like), k, to)
    if as_json:
        asked = {"text": text, "image": image and str(image), "like": like, "to": to, "k": k}
        print_json({"query": asked, "hits": [hit.as_dict() for hit in hits]})
    elif not hits:
        tell(f"nothing found: the library holds no {to} to compare with")
    else:
        results = console()
        for hit in hits:
            results.print(hit_line(hit, Path.cwd()))


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
    from searchx.cli.meter import Meter
    from searchx.search import Library
    from searchx.terminal import console
    from web import serving

    secret = _secret(token)
    if secret is None and not serving.is_this_machine(host):
        raise BadInput(
            f"{host} can be reached by other machines; set a --token for them, "
            "or leave --host at 127.0.0.1"
        )
    meter = Meter(console(stderr=True), "loading")
    with (
        stoppable("stopped", code=0),
        Library.open(place(library), announce=meter.say) as opened,
        serving.listening(host, port) as listener,
    ):
        with meter:
            opened.encoder  # noqa: B018 - a model that cannot be had is told now, not later
        tell(f"searchx serves on {serving.address(listener)} (stop with Ctrl-C)")
        serving.serve(opened, listener, secret)


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


def _secret(token: str | None) -> str | None:
    """Give the token as everyone can type it, without outer spaces; None where none is set."""
    secret = (token or "").strip()
    if (token and not secret) or not secret.isprintable():
        raise BadInput("the token cannot be typed; make it of letters, digits and signs")
    return secret or None
