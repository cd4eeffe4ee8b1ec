"""What a library answers: search, serve, status."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from searchx.cli.options import (
    JsonOption,
    LibraryOption,
    VerboseOption,
    place,
    read_path,
    spelled,
)
from searchx.cli.output import print_json, print_lines, stoppable, tell, verbosely
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
    verbose: VerboseOption = False,
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

    directory = place(library)
    typed = hits.Asked(text or "", image, like, to, k, where, after, group, diverse)
    with verbosely(verbose):
        found = None if random else hits.from_server(directory, typed)
        if found is not None:
            return hits.print_answer(typed, *found, as_json, explain)
        from searchx.cli.meter import Meter
        from searchx.search import Library
        from searchx.terminal import console

        meter = Meter(console(stderr=True), "searching")
        # One query is computed before a GPU would be ready.
        with Library.open(directory, device="cpu", announce=meter.say) as opened:
            if random:
                kind: Literal["image", "text"] = "text" if to == "text" else "image"
                return hits.print_sample(opened, k, kind, where, seed, as_json)
            query = typed.query()
            with meter:
                answer = typed.answer(opened, query)
    return hits.print_answer(typed, query, answer, as_json, explain)


def serve(
    host: Annotated[
        str,
        typer.Option(help="The address to answer on; others than this machine need a token."),
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
    token_file: Annotated[
        Path | None,
        typer.Option(
            parser=read_path,
            metavar="FILE",
            envvar="SEARCHX_TOKEN_FILE",
            help="A file that holds the token.",
            show_default=False,
        ),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Answer everyone who can reach the address.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A name that the server is reached by.", show_default=False
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A website whose pages may read the answers.",
            show_default=False,
        ),
    ] = None,
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A proxy whose X-Forwarded-For and X-Forwarded-Proto are believed.",
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
    from web.access import Access

    secret = _secret(token, token_file)
    access = Access(secret, allow_host or (), allow_origin or (), trust_proxy or ())
    _check_access(host, secret, no_auth)
    settings = serving.Settings(place(library), access, log_queries)
    with (
        stoppable("stopped", code=0),
        Library.open(settings.directory, announce=tell, patience=serving.PATIENCE) as opened,
        serving.listening(host, port) as listener,
    ):
        opened.check()
        tell(f"searchx serves on {serving.address(listener)} (stop with Ctrl-C)")
        if workers == 1:
            serving.serve_alone(opened, listener, settings)
        else:
            serving.serve_by_several(listener, settings, workers)


def mcp(library: LibraryOption = None) -> None:
    """Let an assistant search the library: the Model Context Protocol on stdin and stdout."""
    from searchx.search import Library
    from web.mcp import create_server

    with stoppable("stopped", code=0), Library.open(place(library)) as opened:
        opened.check()  # an assistant tells its user less than a terminal does
        create_server(opened).run("stdio")


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


def _secret(token: str | None, file: Path | None) -> str | None:
    """Give the token as everyone can type it, without outer spaces; None where none is set."""
    if file is not None:
        if token:
            raise typer.BadParameter("give --token or --token-file, not both")
        token = _read_token(file)
    secret = (token or "").strip()
    if (token and not secret) or not secret.isprintable():
        raise BadInput("the token cannot be typed; make it of letters, digits and signs")
    return secret or None


def _read_token(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            token = opened.read(4096)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it holds no text"
        raise BadInput(f"the token cannot be read from {file} ({reason})") from None
    if not token.strip():
        raise BadInput(f"{file} is empty; write the token into it")
    return token


def _check_access(host: str, secret: str | None, no_auth: bool) -> None:
    """Make sure that nobody is let in by oversight, and warn of what is let in on purpose."""
    from web.access import SHORT, is_this_machine

    if no_auth and secret:
        raise typer.BadParameter("--no-auth does not go with a token; leave one of them out")
    if is_this_machine(host):
        return
    if no_auth:
        tell(
            f"warning: everyone who can reach {host} can search this library and read its files "
            "(--no-auth)"
        )
    elif secret is None:
        raise BadInput(
            f"{host} can be reached by other machines; set a --token for them, leave --host at "
            "127.0.0.1, or let everyone in with --no-auth"
        )
    elif len(secret) < SHORT:
        tell(f"warning: a token of fewer than {SHORT} characters can be guessed; make it longer")
