"""The commands. The one place that prints and exits.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 an error told in one line,
2 wrong usage, 130 stopped. What is heavy is imported inside the commands.
"""

import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from searchx.cli import (
    ask,
    bringing,
    doctor,
    exchange,
    ingest,
    labels,
    migrating,
    models,
    quantizing,
    upkeep,
)
from searchx.cli.output import flushed, tell
from searchx.cli.usage import Command
from searchx.errors import SearchxError

app = typer.Typer(
    name="searchx",
    help="Search your own images and texts by meaning: describe it, find it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
source = typer.Typer(
    help="Change what is known of a source.", no_args_is_help=True, rich_markup_mode=None
)
known_models = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

app.command(cls=Command)(ingest.index)
app.command(cls=Command)(ask.search)
app.command(cls=Command)(ask.serve)
app.command(cls=Command)(ask.mcp)
app.command(cls=Command)(ask.status)
app.command(cls=Command)(labels.tag)
app.command(cls=Command)(ingest.forget)
app.add_typer(source, name="source")
source.command("move", cls=Command)(ingest.move_source)
app.command(cls=Command)(exchange.export)
app.command("import", cls=Command)(exchange.import_vectors)
app.command(cls=Command)(upkeep.verify)
app.command(cls=Command)(upkeep.repair)
app.command(cls=Command)(upkeep.compact)
app.command(cls=Command)(upkeep.backup)
app.command(cls=Command)(upkeep.restore)
app.command(cls=Command)(migrating.migrate)
app.command("eval", cls=Command)(models.evaluate)
app.command(cls=Command)(models.train)
app.command(cls=Command)(doctor.doctor)
app.add_typer(known_models, name="models")
known_models.callback()(models.list_models)
known_models.command(cls=Command)(bringing.pull)
known_models.command("import", cls=Command)(bringing.import_model)
known_models.command("export", cls=Command)(bringing.export_model)
known_models.command(cls=Command)(quantizing.quantize)


def main() -> None:
    """Run the command that was typed; never returns."""
    _hush()
    if sys.argv[1:2] == ["search"]:
        gc.disable()  # it ends soon, and would spend a fifth of its time on looking for garbage
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may hold what its encoding has not
            stream.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:])
    gc.freeze()  # nor when it ends
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command and give its exit code."""
    try:
        app(list(arguments), prog_name="searchx")
    except SearchxError as error:
        tell(f"searchx: {error}")
        return 1
    except OSError as error:  # a full disk, a folder that cannot be written
        which = f"{error.filename}: " if error.filename else ""
        tell(f"searchx: {which}{error.strerror or error}")
        return 1
    except SystemExit as end:
        return flushed(end.code if isinstance(end.code, int) else 0)
    return flushed(0)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"searchx {version('searchx')}")
        except PackageNotFoundError:
            print("searchx, from a checkout that is not installed")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    """Search your own images and texts by meaning: describe it, find it."""


def _hush() -> None:
    """Keep what libraries say beside the point off the terminal; call before they are imported.

    Who has set one of these switches keeps it: python -W, TRANSFORMERS_VERBOSITY and so on.
    """
    import logging
    import warnings

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # damaged EXIF, deprecations inside torch
    logging.getLogger().addHandler(logging.NullHandler())  # open_clip logs to the root
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
