"""What is said of a value that an option cannot take."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import typer
from typer.core import TyperCommand

_LIMITS: Final[Mapping[str, str]] = {
    "greater_than_equal": "give at least {ge}",
    "less_than_equal": "give at most {le}",
    "int_parsing": "give a whole number",
    "int_from_float": "give a whole number",
    "float_parsing": "give a number",
}
_CHOICES: Final = re.compile(r"'(?P<given>.*)' is not one of (?P<words>.+?)\.?")


class Command(TyperCommand):
    """A command that says in plain words which values an option takes."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Read what was typed; raises typer.BadParameter with the value and what to give."""
        try:
            return super().make_context(*arguments, **settings)
        except typer.BadParameter as error:
            error.message = plainly(error)
            raise


def plainly(error: typer.BadParameter) -> str:
    """Give the value that was typed and what to give; else what typer says of it."""
    told: Callable[[], list[dict[str, Any]]] | None = getattr(error.__cause__, "errors", None)
    first = told()[0] if told else {}
    if limit := _LIMITS.get(str(first.get("type"))):
        return f'"{first["input"]}"; {limit.format(**first.get("ctx", {}))}'
    said = str(first.get("msg", error.message)).removeprefix("Value error, ")
    choice = _CHOICES.fullmatch(said)
    if choice is None:
        return error.message
    words = choice["words"].replace("'", "").split(", ")
    return f'"{choice["given"]}"; give {", ".join(words[:-1])} or {words[-1]}'
