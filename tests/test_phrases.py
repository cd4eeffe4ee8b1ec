"""The catalogue of phrases is whole, and the language is the one that was asked for."""

import re
from pathlib import Path
from string import Formatter

import pytest
from starlette.requests import Request

from web.phrases import COOKIE, LANGUAGES, Forms, catalogue, language_of, say

WEB = Path(__file__).resolve().parent.parent / "web"
SAID = re.compile(r"""say\(\s*(?:language,\s*)?["']([a-z_]+\.[a-z_]+)["']""")


def shapes(forms: Forms) -> list[str]:
    return [forms] if isinstance(forms, str) else list(forms.values())


def names(phrase: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(phrase) if name}


def request_with(**headers: str) -> Request:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": sent})


@pytest.mark.parametrize("key", catalogue())
def test_a_phrase_is_there_in_every_language_with_the_same_values(key: str) -> None:
    forms = catalogue()[key]
    assert set(forms) == set(LANGUAGES)
    assert all(shape for one in forms.values() for shape in shapes(one))
    filled = [set().union(*map(names, shapes(one))) - {"n"} for one in forms.values()]
    assert all(one == filled[0] for one in filled)


def test_every_phrase_is_said_and_every_phrase_that_is_said_is_there() -> None:
    places = [*WEB.rglob("*.html"), *WEB.rglob("*.py")]
    said = {key for place in places for key in SAID.findall(place.read_text(encoding="utf-8"))}
    written = "\n".join(place.read_text(encoding="utf-8") for place in places)
    assert said - set(catalogue()) == set()
    assert {key for key in catalogue() if f'"{key}"' not in written} == set()


def test_a_phrase_is_said_in_the_language_that_is_asked_for() -> None:
    assert say("en", "page.skip") == "Skip to content"
    assert say("zh", "page.skip") == "\u8df3\u5230\u5185\u5bb9"
    with pytest.raises(KeyError):
        say("en", "page.nothing")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en;q=0.5, zh;q=0.7", "zh"),
        ("de, fr;q=0.9, zh;q=0.1", "zh"),
        ("zh;q=0, en", "en"),
        ("zh;q=x", "en"),
        (",,;;", "en"),
    ],
)
def test_the_browser_says_the_language(header: str, expected: str) -> None:
    assert language_of(request_with(accept_language=header)) == expected


def test_who_has_chosen_a_language_keeps_it() -> None:
    assert language_of(request_with(accept_language="en", cookie=f"{COOKIE}=zh")) == "zh"
    assert language_of(request_with(accept_language="zh", cookie=f"{COOKIE}=xx")) == "zh"
