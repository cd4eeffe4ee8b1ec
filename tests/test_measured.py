"""What was measured of a library is measured once, and again where it holds no more."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from searchx.catalog import Catalog, NewItem
from searchx.measured import kept_background, sweep_backgrounds
from searchx.records import Answer
from searchx.relevance import Direction
from searchx.search import Library
from searchx.views import SNAPSHOTS, read_view
from tests.shelf import ENCODER, digest, fresh

TEXT_TO_IMAGE = Direction("text", "image")


def asked(directory: Path) -> Answer:
    with Library.open(directory, encoder=ENCODER) as library:
        return library.ask("red", 5)


@pytest.fixture
def kept(catalog: Catalog, photos: Path) -> Iterator[Path]:
    asked(catalog.directory)
    (found,) = (catalog.directory / SNAPSHOTS).glob("background-*-text-image.npz")
    yield found


def test_another_process_answers_by_what_was_measured(catalog: Catalog, kept: Path) -> None:
    first = asked(catalog.directory)
    written = kept.stat().st_mtime_ns
    again = asked(catalog.directory)
    assert kept.stat().st_mtime_ns == written
    assert [one.relevance for one in again.hits] == [one.relevance for one in first.hits]
    kept.unlink()
    anew = asked(catalog.directory)
    assert [one.relevance for one in anew.hits] == [one.relevance for one in first.hits]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 5000])
def test_a_damaged_file_is_measured_anew(catalog: Catalog, kept: Path, content: bytes) -> None:
    first = asked(catalog.directory)
    whole = kept.read_bytes()
    kept.write_bytes(content)
    assert asked(catalog.directory).hits == first.hits
    assert len(kept.read_bytes()) == len(whole)


def test_it_holds_for_this_library_this_space_and_about_this_size(
    catalog: Catalog, kept: Path, tmp_path: Path
) -> None:
    space = catalog.space()
    assert space is not None
    references = np.zeros((3, space.dim), np.float32)

    def found(of: Catalog, digest: str) -> bool:
        here = catalog.directory, of.version(), digest, TEXT_TO_IMAGE, references
        return kept_background(*here) is not None

    assert found(catalog, space.digest)
    assert not found(catalog, "0" * 32)
    other = fresh(tmp_path / "other")
    assert not found(other, space.digest)
    other.close()
    few = references[:, :2]
    here = catalog.directory, catalog.version(), space.digest, TEXT_TO_IMAGE
    assert kept_background(*here, few) is None
    grown = read_view(catalog, "image").count // 2
    for number in range(grown):
        digest_of = digest(1000 + number)
        vector = ENCODER.embed_texts(["red"])[0]
        with catalog.writing() as tx:
            tx.add_items([NewItem("image", digest_of, vector, None, 64, 48)])
    add_places(catalog, grown)
    assert not found(catalog, space.digest)


def add_places(catalog: Catalog, count: int) -> None:
    from searchx.catalog import Content, NewFile
    from tests.shelf import ROOT

    with catalog.writing() as tx:
        for number in range(count):
            content = Content("image", digest(1000 + number))
            tx.set_file(ROOT, NewFile(f"{ROOT}/more-{number}.png", 1, 1, [content]))


def test_where_it_cannot_be_written_the_answer_is_the_same(catalog: Catalog, kept: Path) -> None:
    first = asked(catalog.directory)
    kept.unlink()
    kept.mkdir()
    assert asked(catalog.directory).hits == first.hits
    assert list(kept.parent.glob(".*.part")) == []


def test_what_other_models_and_ended_processes_left_is_swept(catalog: Catalog, kept: Path) -> None:
    space = catalog.space()
    assert space is not None
    for name in (".background-1.part", "background-0123-text-image.npz"):
        (kept.parent / name).touch()
    sweep_backgrounds(catalog.directory, space.digest)
    assert list(kept.parent.glob("*background-*")) == [kept]
