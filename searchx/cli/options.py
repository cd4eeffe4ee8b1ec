"""What several commands are asked with: shared options, paths, and which library is meant."""

import os
from pathlib import Path
from typing import Annotated

import typer

from searchx.errors import BadInput


def read_path(typed: str) -> Path:
    """Read a path. An empty one would mean the folder here, which nobody has named."""
    if not typed:
        raise BadInput('a path is empty; name a file or a folder ("." is the one you are in)')
    return Path(typed)


LibraryOption = Annotated[
    Path | None,
    typer.Option(
        "--library",
        parser=read_path,
        metavar="DIR",
        envvar="SEARCHX_LIBRARY",
        help="The library; by default in your user data folder.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
DimOption = Annotated[
    int | None,
    typer.Option(
        "--dim",
        min=1,
        metavar="N",
        help="Keep only the first N numbers of each vector; best of a model trained for that.",
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Say on stderr what computes, and why."),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|cuda:N|cuda:all",
        help="Where the model computes; several GPUs as cuda:0,cuda:1.",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help='A model, see "searchx models"; by default the library\'s own, or mini.',
        show_default=False,
    ),
]


def place(library: Path | None) -> Path:
    """Give the directory of the library: as asked for, else in the user's data folder."""
    if library is not None:
        try:
            return library.expanduser().absolute()
        except RuntimeError:
            raise BadInput(
                f'{library} names the home of a user that is not known; write "./~" for a folder '
                "of that name"
            ) from None
    import platformdirs

    return platformdirs.user_data_path("searchx", appauthor=False)


def spelled(library: Path | None) -> str:
    """Repeat --library for a command that is suggested, where it was typed."""
    import shlex

    from searchx.terminal import visible

    if library is None or os.environ.get("SEARCHX_LIBRARY") == str(library):
        return ""
    return f" --library {shlex.quote(visible(str(library)))}"
