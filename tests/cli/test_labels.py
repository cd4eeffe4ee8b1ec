import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from searchx.search import Library
from tests.cli.commands import COLOURS, Ask, Place, one_line
from tests.colour import paint

ALL = ("--min-share", "1e-9")  # the model of these tests means nothing


@pytest.fixture
def library(place: Place, tmp_path: Path) -> Path:
    return Path(shutil.copytree(place.library, tmp_path / "library"))


def found(ask: Ask, where: str) -> set[str]:
    hits = json.loads(ask("search", "--where", where, "-k", "50", "--json").out)["hits"]
    return {Path(hit["path"]).stem for hit in hits}


def test_labels_become_keywords_until_they_are_removed(library: Path, ask: Ask) -> None:
    tagged = json.loads(ask("tag", "beach", "day | night", *ALL, "--json", library=library).out)
    assert (tagged["pictures"], tagged["tagged"], tagged["dry_run"]) == (4, 4, False)
    counts = {one["label"]: one["pictures"] for one in tagged["labels"]}
    assert counts["beach"] == 4
    assert counts["day"] + counts["night"] == 4  # of each picture one
    assert found(ask, "keyword:beach") == set(COLOURS)
    hits = json.loads(ask("search", "--where", "keyword:beach", "--json").out)["hits"]
    assert all("beach" in hit["tags"] for hit in hits)
    out = ask("tag", "forest", *ALL, "--where", "name:red", "--dry-run").out
    assert out.splitlines() == ["1  forest", "1 of 1 pictures would get a label or more"]
    assert found(ask, "keyword:forest") == set()
    assert ask("tag", "forest", *ALL, "--where", "name:red").code == 0
    assert found(ask, "keyword:beach") == set(COLOURS) - {"red"}
    assert ask("tag", "--remove").out == "tags removed from 4 pictures\n"
    assert found(ask, "has:keyword") == set()
    one_line(ask("tag"), "no labels were given yet")


def test_a_vocabulary_is_read_from_a_file_and_given_again(
    place: Place, library: Path, tmp_path: Path, ask: Ask
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("# mine\nbeach\nlake: a lake; water\n", encoding="utf-8")
    assert ask("tag", "--vocabulary", words, *ALL, library=library).code == 0
    more = tmp_path / "more"
    paint(more / "pink.png", "pink")
    answer = ask("index", more, "--model", place.model)
    assert "tagged: 1 of 1 new pictures" in answer.out
    assert found(ask, "keyword:lake") == {*COLOURS, "pink"}
    assert "5 of 5 pictures have a label or more" in ask("tag").out
    paint(more / "cyan.png", "cyan")
    report = json.loads(ask("index", "--json").out)  # the report alone
    assert report["added"] == 1
    assert "cyan" in found(ask, "keyword:lake")
    assert "tagged" not in ask("index").out


def test_what_changed_and_what_programs_added_is_tagged_as_well(
    place: Place, library: Path, tmp_path: Path, ask: Ask
) -> None:
    more = tmp_path / "more"
    paint(more / "pink.png", "pink")
    assert ask("index", more, "--model", place.model, library=library).code == 0
    assert ask("tag", "lake", *ALL).code == 0
    paint(more / "pink.png", "cyan")
    assert "tagged: 1 of 1 new pictures" in ask("index").out
    assert "pink" in found(ask, "keyword:lake")
    with Library.open(library) as opened:
        row = np.eye(1, opened.space.dim, dtype=np.float32)
        assert opened.add(["one"], row).added == 1
        (one,) = opened.lookup(["one"])
    assert "tagged: 1 of 1 new pictures" in ask("index").out
    with Library.open(library) as opened:
        assert opened.item(int(one)).tags == ("lake",)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("beach", "beach"), "twice"),
        (("beach", "--vocabulary", "words.txt"), "one of the two"),
        (("--vocabulary", "no such file"), "cannot be read"),
        (("--remove", "beach"), "--remove"),
        (("--remove", "--dry-run"), "--remove"),
        (("--where", "name:red"), "name labels"),
        (("beach", "--min-share", "2"), "above 0 and at most 1"),
        (("beach", "--where", "width:much"), "width"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    library: Path, ask: Ask, arguments: tuple[str, ...], said: str
) -> None:
    one_line(ask("tag", *arguments, library=library), said)
