"""What the interface says, in every language it speaks, out of one catalogue: ``phrases.toml``."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from starlette.requests import HTTPConnection

Language: TypeAlias = Literal["en", "zh"]
Forms: TypeAlias = str | Mapping[str, str]  # one sentence, or the "one" and the "other" of it
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
COOKIE: Final = "searchx_language"
NAMES: Final[Mapping[Language, tuple[str, str]]] = {  # as they name themselves, and their tag
    "en": ("English", "en"),
    "zh": ("\u4e2d\u6587", "zh-Hans"),
}
_PLACE = Path(__file__).resolve().parent / "phrases.toml"


def say(language: Language, key: str, **values: object) -> str:
    """Give the phrase of a key, such as "count.images", with its values filled in.

    `n` decides between singular and plural where a language tells them apart. Raises KeyError
    for a key that the catalogue lacks.
    """
    forms = catalogue()[key][language]
    if not isinstance(forms, str):
        forms = forms["one" if values.get("n") == 1 else "other"]
    return forms.format(**values)


def language_of(request: HTTPConnection) -> Language:
    """Tell which language to answer in: the one chosen before, else the browser's first."""
    wanted = [request.cookies.get(COOKIE, ""), *_accepted(request.headers.get("accept-language"))]
    known = (one for tag in wanted for one in LANGUAGES if tag.lower().partition("-")[0] == one)
    return next(known, "en")


@cache
def catalogue() -> Mapping[str, Mapping[Language, Forms]]:
    """Give every phrase by its key, in each language."""
    sections = tomllib.loads(_PLACE.read_text(encoding="utf-8"))
    return {
        f"{section}.{name}": forms
        for section, phrases in sections.items()
        for name, forms in phrases.items()
    }


def _accepted(header: str | None) -> list[str]:
    """Read the tags of Accept-Language, most wanted first (RFC 9110); odd weights count as 0."""
    weighed: list[tuple[float, str]] = []
    for part in (header or "")[:1000].split(","):
        tag, _, rest = part.strip().partition(";")
        try:
            weight = float(rest.strip().removeprefix("q=")) if rest else 1.0
        except ValueError:
            weight = 0.0
        weighed.append((-weight, tag))
    return [tag for weight, tag in sorted(weighed, key=lambda one: one[0]) if weight]
