"""What a user can type, call or ask for is in the documentation, and its links lead somewhere."""

import inspect
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup, TyperOption

from indexer.about import dates, facts, sidecars
from indexer.datasets import rows
from indexer.decoding import decode, worker
from indexer.decoding.workers import Workers
from indexer.formats import FORMATS
from indexer.prose import hypertext, pdf, texts, word
from searchx.archives import MAX_PICTURE
from searchx.catalog import Catalog
from searchx.cli import app
from searchx.contents import IMAGE_COLUMNS
from searchx.pictures import frames, limits
from searchx.search import Library
from tests.colour import ColourEncoder
from web.app import create_app

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
FILES = ROOT / "docs" / "files.md"
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("searchx/models/*/*.md")]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)[^)]*\)|(?:src|href)=\"([^\"]+)\"")
MACHINE = re.compile(r"(?<![\w.:/])/(?:home|root|Users|work|tmp|mnt)/[\w.-]+")


def words() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def commands() -> dict[str, TyperCommand]:
    """Give every command by what is typed for it; those of a group after its name."""
    return dict(commands_of(cast(TyperGroup, typer.main.get_command(app))))


def commands_of(group: TyperGroup, before: str = "") -> Iterator[tuple[str, TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands_of(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", cast(TyperCommand, command)


def options() -> list[tuple[str, TyperOption]]:
    return [
        (name, parameter)
        for name, command in commands().items()
        for parameter in command.params
        if isinstance(parameter, TyperOption) and not parameter.hidden
    ]


def routes(tmp_path: Path) -> list[str]:
    with closing(Catalog.open(tmp_path / "library", create=True)) as catalog:
        library = Library(catalog, ColourEncoder())
        return list(create_app(library).openapi()["paths"])


def test_every_command_is_in_the_documentation() -> None:
    assert {"index", "search", "serve", "status", "verify", "source move"} <= set(commands())
    assert [name for name in commands() if f"searchx {name}" not in words()] == []


def test_every_option_is_in_the_documentation() -> None:
    text = words()
    names = {name for _, option in options() for name in option.opts}
    assert {"--library", "--model", "--json"} <= names
    assert [name for name in sorted(names) if not re.search(rf"{name}\b", text)] == []


def test_every_command_and_option_says_what_it_does() -> None:
    assert [name for name, command in commands().items() if not command.help] == []
    assert [(name, option.opts) for name, option in options() if not option.help] == []


def test_every_route_is_in_the_documentation(tmp_path: Path) -> None:
    found = routes(tmp_path)
    assert {"/api/search", "/healthz"} <= set(found)
    assert [route for route in found if route not in words()] == []


def test_every_setting_is_in_the_documentation() -> None:
    folders = ("searchx", "indexer", "web")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    settings = set(re.findall(r"\bSEARCHX_[A-Z_]+\b", text))
    assert "SEARCHX_LIBRARY" in settings
    assert [name for name in sorted(settings) if name not in words()] == []


def test_the_readme_is_there_and_names_the_one_test_command() -> None:
    assert "python -m tests" in README.read_text(encoding="utf-8")


def test_the_table_of_formats_is_what_is_read() -> None:
    told = [(row[0], tuple(quoted(row[1]))) for row in table("Format")]
    assert told == [(format.name, format.suffixes) for format in FORMATS]


def test_the_tables_of_columns_and_dates_are_what_is_looked_for() -> None:
    told = [tuple(quoted(row[1])) for row in table("For")]
    assert told == [rows.TEXT_COLUMNS, IMAGE_COLUMNS, rows.KEYWORD_COLUMNS]
    assert [quoted(row[1])[0] for row in table("Order")] == list(dates.RULES)


def test_the_table_of_limits_is_what_holds() -> None:
    told = [[int(one.replace(",", "")) for one in numbers(row[1])] for row in table("What")]
    assert told == [
        [
            *(limits.MAX_PIXELS // 1_000_000, decode.MAX_BYTES["image"] >> 20),
            limits.MAX_RATIO,
        ],
        [frames.MAX_FRAMES, frames.MAX_FRAME_PIXELS // 1_000_000],
        [decode.MAX_BYTES["text"] >> 20, texts.MAX_LETTERS, texts.MAX_PARAGRAPHS],
        [hypertext.MAX_ELEMENTS],
        [pdf.MAX_PAGES],
        [
            *(word.MAX_UNPACKED >> 20, word.MAX_XML >> 20, word.MAX_PARTS, word.MAX_RATIO),
            word._SMALL >> 20,
        ],
        [rows.MAX_LINE >> 20, MAX_PICTURE >> 20],
        [sidecars.MAX_BYTES >> 20],
        [facts.MAX_CAPTIONS, facts.MAX_CAPTION, facts.MAX_KEYWORDS],
        [seconds(), worker.MEMORY >> 30],
    ]


def table(first: str) -> list[list[str]]:
    """Give the rows of the table in docs/files.md whose first heading this is."""
    text = FILES.read_text(encoding="utf-8")
    found = re.search(rf"^\| {first} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found, f"docs/files.md has no table that begins with {first}"
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in found[1].splitlines()]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def numbers(cell: str) -> list[str]:
    return re.findall(r"\d[\d,]*\d|\d", cell)


def seconds() -> int:
    """Give how long a worker may say nothing where the pipeline asks for nothing else."""
    return int(inspect.signature(Workers).parameters["seconds"].default)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    found = [one or other for one, other in LINK.findall(page.read_text(encoding="utf-8"))]
    for target in found:
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            continue
        path, _, heading = target.partition("#")
        assert (page.parent / path).exists(), f"{page.name} links to {target}"
        if heading and path.endswith(".md"):
            assert heading in headings(page.parent / path), f"{page.name} links to {target}"
    own = [target[1:] for target in found if target.startswith("#")]
    assert [heading for heading in own if heading not in headings(page)] == []


def headings(page: Path) -> set[str]:
    """Give the anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ +(.+?)\s*$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_place_of_one_machine(page: Path) -> None:
    assert MACHINE.findall(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_is_left_to_be_filled_in(page: Path) -> None:
    assert re.findall(r"@@|\bTODO\b|to be measured", page.read_text(encoding="utf-8")) == []
