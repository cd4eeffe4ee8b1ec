import os
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx import lexical
from searchx.catalog import Catalog, Content, Match, NewFile, NewItem, Writing
from searchx.filters import Has, Is
from searchx.lexical import FIELDS
from searchx.records import Kind, Metadata, Space
from searchx.upkeep import backup, compact, restore
from searchx.words import WORDS_USED, asked, words_of, words_of_name

ROOT = "/photos"
VECTOR = np.full(4, 0.5, np.float32)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(fresh(tmp_path / "library")) as opened:
        yield opened


def fresh(directory: Path) -> Catalog:
    opened = Catalog.open(directory, create=True)
    with opened.writing() as tx:
        tx.claim_space(Space("colour", "colour-1", 4))
        tx.add_source(ROOT)
    return opened


def digest_of(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()


@dataclass(frozen=True)
class Photo:
    """A picture file, with what is told of it."""

    name: str
    captions: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    title: str | None = None
    pixels: str = ""  # equal for equal pictures


def photograph(tx: Writing, photo: Photo, folder: str = ROOT, source: str = ROOT) -> None:
    path = f"{folder}/{photo.name}"
    image = digest_of(photo.pixels or path)
    about = Metadata(keywords=photo.keywords, title=photo.title)
    tx.add_items([NewItem("image", image, VECTOR, None, 64, 48)])
    tx.add_items([NewItem("text", digest_of(one), VECTOR, one) for one in photo.captions])
    texts = [Content("text", digest_of(one), "caption", path) for one in photo.captions]
    contents = [Content("image", image, "", path, metadata=about), *texts]
    tx.set_file(source, NewFile(path, 1, 1, contents))


def write_down(tx: Writing, name: str, *passages: str, subject: str | None = None) -> None:
    tx.add_items([NewItem("text", digest_of(one), VECTOR, one) for one in passages])
    contents = [Content("text", digest_of(one), "line 1", subject) for one in passages]
    tx.set_file(ROOT, NewFile(f"{ROOT}/{name}", 1, 1, contents))


def names(catalog: Catalog, text: str, kind: Kind = "image") -> list[str]:
    """Give the names of the files that are found, best first."""
    found = [one.id for one in catalog.words(kind, text, 50)]
    items = catalog.items(found)
    return [items[one].path.rpartition("/")[2] for one in found]


def files(catalog: Catalog) -> list[int]:
    with catalog.knowing(ROOT) as known:
        return [file for one in known.folders for file in known.files(one).ids.values()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog, on the BEACH!", ["a", "dog", "on", "the", "beach"]),
        ("naïve Café ÉCOLE Straße", ["naive", "cafe", "ecole", "strasse"]),
        ("cafe\u0301", ["cafe"]),
        ("\ufb01ne \uff26\uff35\uff2c\uff2c \u21165", ["fine", "full", "no5"]),
        ("snake_case-x.y/z", ["snake", "case", "x", "y", "z"]),
        ("東京都", ["東", "京", "都", "東京", "京都"]),
        ("iPhone写真2", ["iphone", "写", "真", "写真", "2"]),
        ("ガラス が", ["ガ", "ラ", "ス", "ガラ", "ラス", "が"]),
        ("학교에서", ["학", "교", "에", "서", "학교", "교에", "에서"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("мир Ёлка", ["мир", "елка"]),
        ("🙂 \x00 \ud800 ·", []),
        ("x" * 500, ["x" * 100]),
        ("", []),
    ],
)
def test_a_text_is_cut_into_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("IMG_1234.jpg", ["img", "1234", "jpg", "·img·1234·jpg", "·img·1234"]),
        ("IMG1234.jpg", ["img1234", "jpg", "img", "1234", "·img1234·jpg", "·img1234"]),
        ("MyHolidayPDF.png", ["myholidaypdf", "png", "my", "holiday", "pdf"]),
        ("夜景.png", ["夜", "景", "夜景", "png"]),
        ("noext", ["noext", "·noext"]),
        ("...", []),
    ],
)
def test_a_name_is_cut_into_words_parts_and_the_whole(name: str, found: list[str]) -> None:
    assert words_of_name(name)[: len(found)] == found
    assert len(words_of_name(name)) == len(set(words_of_name(name)))


@given(text=st.text())
def test_what_is_stored_can_be_asked_for(text: str) -> None:
    """Every word of a question is one of the words of the same text."""
    stored = words_of(text)
    assert set(asked(text).terms) <= set(stored)
    assert not [one for one in stored if " " in one or '"' in one or not one or "·" in one]
    assert words_of(" ".join(stored)) != [] or not stored


@pytest.fixture
def album(catalog: Catalog) -> Catalog:
    with catalog.writing() as tx:
        photograph(tx, Photo("IMG_1234.jpg", ("a dog on the beach",), ("Summer", "Red Car")))
        photograph(tx, Photo("IMG_5678.JPG", ("two cats",), (), "Frühstück in Wien"))
        photograph(tx, Photo("東京タワー.png", ("東京の夜景",)))
        photograph(tx, Photo("MyHolidayPhoto.png", ("un chien à la plage", "dogs")))
        write_down(tx, "report-2019.txt", "rain fell all summer", "and a dog slept")
    return catalog


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("IMG_1234", ["IMG_1234.jpg", "IMG_5678.JPG"]),
        ("img_1234.jpg", ["IMG_1234.jpg", "IMG_5678.JPG"]),
        ("1234", ["IMG_1234.jpg"]),
        ("holiday", ["MyHolidayPhoto.png"]),
        ("myholidayphoto", ["MyHolidayPhoto.png"]),
        ("DOG", ["IMG_1234.jpg"]),
        ("fruhstuck", ["IMG_5678.JPG"]),
        ("wien red", ["IMG_1234.jpg", "IMG_5678.JPG"]),
        ("plage chien", ["MyHolidayPhoto.png"]),
        ("京", ["東京タワー.png"]),
        ("夜景", ["東京タワー.png"]),
        ("東京タワー", ["東京タワー.png"]),
        ("京東", []),
        ("do", []),  # no part of a word
        ("the a of on in", []),
        ("", []),
        ("unheard", []),
    ],
)
def test_pictures_are_found_by_their_words(album: Catalog, text: str, found: list[str]) -> None:
    assert sorted(names(album, text)) == sorted(found)
    assert names(album, text)[:1] == found[:1] or text == "wien red"


def test_texts_are_found_by_their_words_and_the_name_of_their_file(album: Catalog) -> None:
    assert names(album, "rain", "text") == ["report-2019.txt"]
    assert names(album, "report 2019", "text") == ["report-2019.txt"] * 2
    assert sorted(names(album, "dog", "text")) == ["IMG_1234.jpg", "report-2019.txt"]


def test_a_match_tells_what_was_found_where(album: Catalog) -> None:
    (one,) = album.words("image", "The Beach of Red cars and Summer", 5)
    assert one.words == ("Beach", "Red", "Summer")
    assert one.fields == ("caption", "keyword")
    assert 0.5 < one.share < 1  # cars were not found
    assert not one.named
    (one,) = album.words("text", "rain report", 1)
    assert (one.words, one.fields, one.share) == (("rain", "report"), ("name", "passage"), 1)


def test_a_question_that_names_a_file_finds_it_first(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        for number in range(400):
            photograph(tx, Photo(f"scan {number}.jpg", ("scan 77 of img 77 jpg",)))
        photograph(tx, Photo("img_77.jpg"))
        photograph(tx, Photo("the.jpg"))
        photograph(tx, Photo("dog.jpg"))
        photograph(tx, Photo("b.jpg", ("a dog on a beach",)))
    for text in ("IMG_77", "img_77.jpg", "img 77", "where is img_77.jpg from", "img-77 77 scan"):
        first = catalog.words("image", text, 3)[0]
        assert first.named
        assert catalog.items([first.id])[first.id].path == f"{ROOT}/img_77.jpg"
    assert names(catalog, "the") == ["the.jpg"]
    assert names(catalog, "the the") == []
    assert [one.named for one in catalog.words("image", "dog", 9)] == [True, False]
    # One of the words of a sentence is no name, unless it looks like one.
    assert names(catalog, "a dog on a beach") == ["b.jpg", "dog.jpg"]
    assert not any(one.named for one in catalog.words("image", "a dog on a beach", 9))


def test_rare_words_and_short_fields_count_more(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        for number in range(30):
            photograph(tx, Photo(f"a{number}.jpg", (f"a car number {number}",)))
        photograph(tx, Photo("rare.jpg", ("a comet",)))
        photograph(tx, Photo("long.jpg", ("a comet " + "and so on for long " * 20,)))
        photograph(tx, Photo("tagged.jpg", (), ("comet",)))
    assert names(catalog, "car comet")[:3] == ["tagged.jpg", "rare.jpg", "long.jpg"]


SYNTAX = (
    *('"', "'", "*", "name:dog", "dog AND cat", "NEAR(dog cat)", "-dog", "^dog", "{name}:dog"),
    *("dog*", "(", ")", 'a"b', "dog NOT beach", "+dog", "\0dog", "\ud800dog"),
)


@pytest.mark.parametrize("text", SYNTAX)
def test_a_question_has_no_syntax(album: Catalog, text: str) -> None:
    """The same is found as by its words alone."""
    plain = " ".join(words_of(text))
    assert names(album, text) == names(album, plain)


@settings(deadline=None, max_examples=100)
@given(text=st.text(st.characters(), max_size=40))
def test_no_question_fails(shared: Catalog, text: str) -> None:
    for kind in FIELDS:
        assert len(shared.words(kind, text, 3)) <= 3


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    with closing(fresh(tmp_path_factory.mktemp("shared"))) as opened:
        yield opened


def test_a_long_question_counts_by_its_first_words(album: Catalog) -> None:
    many = " ".join(f"word{number}" for number in range(WORDS_USED - 1))
    assert names(album, f"{many} dog") == ["IMG_1234.jpg"]
    assert names(album, f"{many} another dog") == []
    assert names(album, "dog " * 25_000) == ["IMG_1234.jpg"]
    assert names(album, "d" * 100_000) == []
    assert names(album, "東" * 100_000) == []
    assert len(asked("東京" * 50_000).terms) <= WORDS_USED


VOCABULARY = ("red", "car", "sea", "sky", "Élan", "東京", "京都", "12", "img", "the")
TEXTS = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=4).map(" ".join)


@settings(deadline=None, max_examples=25)
@given(
    photos=st.lists(st.tuples(TEXTS, st.none() | TEXTS, st.lists(TEXTS, max_size=2)), max_size=8),
    question=TEXTS,
)
def test_words_find_what_holds_one_of_them(
    shared: Catalog, photos: Sequence[tuple[str, str | None, list[str]]], question: str
) -> None:
    """The oracle looks through every picture."""
    held: dict[str, set[str]] = {}
    with shared.writing() as tx:
        tx.drop_files(files(shared))
        for number, (caption, title, keywords) in enumerate(photos):
            photo = Photo(f"p{number}.jpg", (caption,), tuple(dict.fromkeys(keywords)), title)
            photograph(tx, photo)
            told = " ".join([caption, title or "", *keywords])
            held[photo.name] = set(words_of(told)) | set(words_of_name(photo.name))
        tx.drop_orphans()
    wanted = set(asked(question).terms)
    expected = sorted(name for name, words in held.items() if words & wanted)
    assert sorted(names(shared, question)) == expected
    for one in shared.words("image", question, 50):
        assert 0 < one.share <= 1
        assert (one.share == 1) == (set(asked(" ".join(one.words)).terms) == wanted)
        assert one.score > 0
    assert_right(shared)


def test_a_filter_leaves_what_passes_it(catalog: Catalog) -> None:
    rng = random.Random(0)
    with catalog.writing() as tx:
        for number in range(700):
            folder = f"{ROOT}/{rng.choice('abc')}"
            tagged = ("tag",) if rng.random() < 0.3 else ()
            photograph(tx, Photo(f"{number}.jpg", (f"sea {rng.choice('xyz')}",), tagged), folder)
    everything = catalog.words("image", "sea y", 1000)
    assert len(everything) == 700
    for where in (Is("folder", "a"), Has("keyword"), Is("name", "77."), Is("folder", "none")):
        passing = set(catalog.matching("image", where).tolist())
        expected = [one for one in everything if one.id in passing]
        assert catalog.words("image", "sea y", 1000, where) == expected
        assert catalog.words("image", "sea y", 5, where)[:5] == expected[:5]
    assert catalog.words("image", "sea", 0) == []


def test_the_best_are_found_whatever_the_number_that_is_asked_for(catalog: Catalog) -> None:
    rng = random.Random(0)
    with catalog.writing() as tx:
        for number in range(900):
            words = ("sea", "sky", "red", "boat")
            caption = " ".join(rng.sample(words, rng.randint(1, 4)))
            photograph(tx, Photo(f"{number}.jpg", (caption,)))
    for text in ("sea sky red boat", "boat sea", "red"):
        everything = catalog.words("image", text, 2000)
        few = catalog.words("image", text, 10)
        assert [one.score for one in few] == [one.score for one in everything[:10]]
        assert set(few) <= set(everything)


def test_what_is_told_of_one_item_does_not_depend_on_the_others(album: Catalog) -> None:
    listed = album.words("image", "dog summer img", 9)
    assert len(listed) == 2
    by_id = sorted(listed, key=lambda one: one.id)
    everything = album.matching("image", Has("caption"))
    assert album.words_of("image", "dog summer img", everything) == by_id
    assert album.words_of("image", "dog summer img", [listed[0].id, 10**9]) == [listed[0]]
    assert album.words_of("image", "the", everything) == []
    assert album.words_of("image", "dog", []) == []


def test_only_so_many_entries_of_common_words_are_read() -> None:
    """The rarest word leads to candidates in any case."""
    counts = lexical._Counts(10**6, {"all": 10**6, "some": 1000, "few": 7, "none": 0})
    assert counts.driving() == ["few", "some"]
    assert lexical._Counts(10**6, {"all": 10**6}).driving() == ["all"]
    assert lexical._Counts(10**6, {"none": 0}).driving() == []
    assert counts.worth("few") > counts.worth("some") > counts.worth("all") > 0


# The words are what the rest of the catalog holds, whatever was written.


def assert_right(catalog: Catalog) -> None:
    with catalog._reading() as connection:
        assert lexical.stale(connection) == []
        assert lexical.is_sound(connection)
        assert connection.exec_driver_sql("SELECT count(*) FROM words_due").scalar() == 0


NAMES = ("a.jpg", "b.jpg", "c.txt", "d.jpg")
SOURCES = (ROOT, "/moved", "/far/away")
STEPS = st.one_of(
    st.tuples(
        st.just("photo"), st.sampled_from(NAMES), TEXTS, st.none() | TEXTS, st.sampled_from("xyz")
    ),
    st.tuples(st.just("note"), st.sampled_from(NAMES), TEXTS, st.none() | st.sampled_from(NAMES)),
    st.tuples(st.just("broken"), st.sampled_from(NAMES)),
    st.tuples(st.just("problem"), st.sampled_from(NAMES)),
    st.tuples(st.just("drop"), st.integers(0, 9)),
    st.tuples(st.just("orphans")),
    st.tuples(st.just("move"), st.sampled_from(SOURCES)),
    st.tuples(st.just("forget")),
)


@settings(deadline=None, max_examples=30)
@given(transactions=st.lists(st.lists(STEPS, min_size=1, max_size=4), max_size=5))
def test_the_words_are_right_after_whatever_was_written(
    shared: Catalog, transactions: Sequence[Sequence[tuple[object, ...]]]
) -> None:
    for steps in transactions:
        with shared.writing() as tx:
            for step in steps:
                take(tx, *step)
        assert_right(shared)
    assert shared.inspect().findings == ()


def take(tx: Writing, step: object, *how: object) -> None:
    """Write something to the one source that there is."""
    held = tx._scalar("SELECT path FROM source", {})
    root = os.fsdecode(held) if held else ROOT
    match step, *how:
        case "forget", *_ if held:
            tx.drop_source(root)
            return
        case "move", str(new) if held and new != root:
            tx.move_source(root, new)
            return
    tx.add_source(root)
    match step, *how:
        case "photo", str(name), str(caption), title, str(pixels):
            told = str(title) if title else None
            photo = Photo(name, (caption,), tuple(caption.split()[:1]), told, pixels)
            photograph(tx, photo, root, root)
        case "note", str(name), str(text), subject:
            tx.add_items([NewItem("text", digest_of(text), VECTOR, text)])
            about = f"{root}/{subject}" if subject else None
            content = Content("text", digest_of(text), "line 1", about)
            tx.set_file(root, NewFile(f"{root}/notes of {name}", 1, 1, (content,)))
        case "broken", str(name):
            tx.set_file(root, NewFile(f"{root}/{name}", 1, 1, (), reason="broken"))
        case "problem", str(name):
            tx.note_problem(root, f"{root}/{name}", "no permission")
        case "drop", int(number):
            known = tx._connection.exec_driver_sql("SELECT id FROM file").scalars().all()
            tx.drop_files(known[number :: number + 1])
        case "orphans", *_:
            tx.drop_orphans()


def test_pictures_of_one_subject_are_found_by_texts_of_other_files(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        photograph(tx, Photo("a.jpg"))
        photograph(tx, Photo("b.jpg"))
        write_down(tx, "captions.jsonl", "a red boat", subject=f"{ROOT}/a.jpg")
    assert names(catalog, "boat") == ["a.jpg"]
    with catalog.writing() as tx:
        write_down(tx, "captions.jsonl", "a red boat", subject=f"{ROOT}/b.jpg")
    assert names(catalog, "boat") == ["b.jpg"]
    with catalog.writing() as tx:
        write_down(tx, "captions.jsonl")
    assert names(catalog, "boat") == []
    assert_right(catalog)


def test_nothing_is_found_of_a_transaction_that_failed(catalog: Catalog) -> None:
    with pytest.raises(ZeroDivisionError), catalog.writing() as tx:
        photograph(tx, Photo("a.jpg", ("a boat",)))
        tx.drop_orphans()
        raise ZeroDivisionError
    assert names(catalog, "boat") == []
    assert_right(catalog)


def test_items_in_no_file_are_found_by_no_word(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        photograph(tx, Photo("a.jpg", ("a boat",)))
    with catalog.writing() as tx:
        tx.drop_files(files(catalog))
    assert names(catalog, "boat") == names(catalog, "boat", "text") == []


def change(catalog: Catalog, *statements: str) -> None:
    """Write to the database as another program does."""
    with closing(sqlite3.connect(catalog.directory / "catalog.db")) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


BEHIND = {
    "a file is renamed": "UPDATE file SET name = CAST('boat.jpg' AS BLOB) WHERE id = 1",
    "a keyword is added": "INSERT INTO keyword VALUES (1, 'boat')",
    "a title is changed": "UPDATE metadata SET title = 'boat' WHERE location_id = 1",
    "a text is changed": "UPDATE item SET text = 'boat' WHERE text LIKE 'a dog on%'",
    "a text is about another picture": "UPDATE location SET subject = NULL WHERE item_id = 2",
    "a file is dropped": "DELETE FROM file WHERE id = 1",
    "an item is dropped": "DELETE FROM item WHERE id = 1",
    "keywords are dropped": "DELETE FROM keyword",
    "everything is dropped": "DELETE FROM source",
}


@pytest.mark.parametrize("statement", BEHIND.values(), ids=BEHIND.keys())
def test_what_another_program_writes_is_followed_at_the_next_writing(
    album: Catalog, statement: str
) -> None:
    change(album, statement)
    with album._reading() as connection:
        assert lexical.stale(connection)
    with album.writing():
        pass
    assert_right(album)
    assert bool(names(album, "boat")) == ("boat" in statement)


DAMAGE = {
    "an entry is missing": "DELETE FROM image_words WHERE rowid = 1",
    "an entry is of another item": "UPDATE image_words SET rowid = 99 WHERE rowid = 1",
    "an entry says something else": "UPDATE text_words SET passage = 'no' WHERE rowid = 2",
    "what was written is gone": "DELETE FROM image_words_content",
    "the index is gone": "DELETE FROM image_words_data",
    "the index is noise": "UPDATE text_words_data SET block = x'0102030405' WHERE id > 10",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_to_the_words_is_found_and_put_right(tmp_path: Path, statement: str) -> None:
    with closing(fresh(tmp_path / "library")) as catalog:
        with catalog.writing() as tx:
            photograph(tx, Photo("photo.jpg", ("a boat at sea",), ("Harbour",), "Morning"))
        assert catalog.inspect().findings == ()
        before = catalog.words("image", "boat photo", 5), catalog.words("text", "boat", 5)
        assert all(before)
        change(catalog, statement)
        assert catalog.inspect().findings
        for finding in catalog.inspect().findings:
            assert "words" in finding.what
            assert "searchx repair" in finding.do
        assert catalog.mend()
        assert catalog.mend() == []
        assert catalog.inspect().findings == ()
        assert_right(catalog)
        found = catalog.words("image", "boat photo", 5), catalog.words("text", "boat", 5)
        assert found == before


def test_the_words_travel_with_backups_and_survive_compacting(
    album: Catalog, tmp_path: Path
) -> None:
    def told(catalog: Catalog) -> list[list[Match]]:
        return [catalog.words(kind, "dog summer 京 img_1234", 9) for kind in FIELDS]

    before = told(album)
    assert all(before)
    backup(album.directory, tmp_path / "kept")
    restore(tmp_path / "kept", tmp_path / "again")
    with closing(Catalog.open(tmp_path / "again")) as again:
        assert told(again) == before
        assert_right(again)
    with album.writing() as tx:
        photograph(tx, Photo("more.jpg", ("a boat",)))
        tx.drop_orphans()
    compact(album.directory)
    assert names(album, "boat") == ["more.jpg"]
    assert_right(album)
    album.compact()
    assert_right(album)
