"""Labels of the user's own: how they are read, how likely they fit, and where they are kept."""

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

import searchx
from searchx import lexical
from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.database import connect
from searchx.errors import BadInput, NoLibrary
from searchx.labels.classifier import BASE, SCORE, USUAL, Classified, Classifier, label_vectors
from searchx.labels.vocabulary import MAX_LABELS, Label, Vocabulary
from searchx.records import Metadata, Vectors
from searchx.references import references_of
from searchx.relevance import Background, Direction
from searchx.search import Library
from tests.colour import COLOURS
from tests.shelf import ENCODER, ROOT, digest
from web.app import create_app

TOLD = ("red", "green", "blue")
LOW = 0.3  # the colours of the tests stand out less than the subjects of photos


def paths(library: Library, where: str) -> set[str]:
    return {Path(hit.path).stem for hit in library.search(where, k=50)}


def assert_words_are_right(library: Library) -> None:
    with closing(connect(library.directory / "catalog.db").connect()) as connection:
        assert lexical.stale(connection) == []
        assert lexical.is_sound(connection)
        assert connection.exec_driver_sql("SELECT count(*) FROM words_due").scalar() == 0


words = st.text("abc xyz-0", min_size=1, max_size=12).filter(lambda text: bool(text.strip()))


@given(
    st.lists(
        st.lists(st.tuples(words, st.lists(words, max_size=2)), min_size=1, max_size=3),
        min_size=1,
        max_size=5,
    )
)
def test_a_vocabulary_is_read_as_it_is_written(said: list[list[tuple[str, list[str]]]]) -> None:
    entries = [
        "|".join(f"{name}:{';'.join(phrases)}" if phrases else name for name, phrases in group)
        for group in said
    ]
    names = [" ".join(name.split()) for group in said for name, _ in group]
    if len(set(names)) < len(names):
        with pytest.raises(BadInput, match="twice"):
            Vocabulary.of(entries)
        return
    vocabulary = Vocabulary.of(entries)
    assert list(vocabulary.names) == names
    assert [len(group) for group in vocabulary.groups] == [len(group) for group in said]
    assert Vocabulary.of(vocabulary.entries()) == vocabulary


def test_a_file_holds_an_entry_a_line(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("\ufeff# animals\n\ndog: a dog; a  puppy\nday | night \n", encoding="utf-8")
    groups = ((Label("dog", ("a dog", "a puppy")),), (Label("day"), Label("night")))
    assert Vocabulary.read(file).groups == groups
    assert Vocabulary.of({"dog": ["a dog", "a puppy"]}).groups == groups[:1]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([], "no labels"),
        ("dog", "give a list"),
        (["dog", "Dog"], "twice"),
        (["dog | "], "is no label"),
        ([": a dog"], "is no label"),
        (["a\x00b"], "is no label"),
        ([3], "int"),
        (["x" * 201], "longer than 200"),
        ({"dog": "a dog"}, "give a list"),
        ({"a:b": []}, "parts entries"),
        ({"dog": ["a; b"]}, "parts entries"),
        ([str(one) for one in range(MAX_LABELS + 1)], "too many"),
    ],
)
def test_labels_that_cannot_be_are_refused(labels: Sequence[str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Vocabulary.of(labels)


def test_a_file_that_is_no_vocabulary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "empty").write_bytes(b"")
    for name, said in (("none", "cannot be read"), ("picture", "cannot be read"), ("empty", "no")):
        with pytest.raises(BadInput, match=said):
            Vocabulary.read(tmp_path / name)


@pytest.fixture(scope="module")
def background(tmp_path_factory: pytest.TempPathFactory) -> Background:
    references = references_of(tmp_path_factory.mktemp("references"), ENCODER)
    sample = ENCODER.embed_texts(list(COLOURS))  # as good as pictures of those colours
    return Background.of(Direction("text", "image"), len(sample), sample, references)


def test_a_chance_is_the_odds_above_what_is_usual(background: Background) -> None:
    vocabulary = Vocabulary.of(["red", "dim: black; blue", "green | yellow | cyan"])
    rows = ENCODER.embed_texts(list(COLOURS))
    shares = Classifier.of(vocabulary, ENCODER, background).shares(rows)
    assert shares.shape == (len(COLOURS), 5)
    dim = ENCODER.embed_texts(["black", "blue"]).mean(axis=0)
    for place, vector in enumerate([ENCODER.embed_texts(["red"])[0], dim / np.linalg.norm(dim)]):
        for row, share in zip(rows, shares[:, place], strict=True):
            usual = float(np.mean(background.references @ row))
            above = [
                (one - background.hit.mean) / background.hit.spread for one in (row @ vector, usual)
            ]
            odds = np.exp(BASE + SCORE * above[0] + USUAL * above[1])
            assert share == pytest.approx(odds / (1 + odds), rel=1e-3)
    alone = Classifier.of(Vocabulary.of(["green", "yellow", "cyan"]), ENCODER, background)
    odds = alone.shares(rows) / (1 - alone.shares(rows))
    expected = odds / (1 + odds.sum(axis=1, keepdims=True))  # one of them, or none
    np.testing.assert_allclose(shares[:, 2:], expected, rtol=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.floats(0.05, 1), st.integers(0, 99))
def test_of_a_group_one_label_is_given_at_most(sizes: list[int], least: float, seed: int) -> None:
    count = iter(range(99))
    entries = [" | ".join(f"label {next(count)}" for _ in range(size)) for size in sizes]
    shares = np.random.default_rng(seed).random((20, sum(sizes))).astype(np.float32)
    found = Classified(Vocabulary.of(entries), np.arange(20), shares)
    given, starts = found.given(least), np.cumsum([0, *sizes])
    for size, start in zip(sizes, starts[:-1], strict=True):
        part, mine = shares[:, start : start + size], given[:, start : start + size]
        best = (part >= least) & (part == part.max(axis=1, keepdims=True))
        assert (mine == (best if size > 1 else part >= least)).all()
    assert [len(names) for names in found.names(least)] == given.sum(axis=1).tolist()


def test_pictures_get_the_labels_that_fit_and_are_found_by_them(
    library: Library, photos: Path
) -> None:
    made = library.tag(TOLD, min_share=LOW)
    assert made.pictures == len(COLOURS)
    assert dict(made.labels).keys() == set(TOLD)
    for name in TOLD:
        assert name in paths(library, f"keyword:{name}")
        assert made.labels[name] == len(paths(library, f"keyword:{name}"))
    assert paths(library, "has:keyword") == set().union(
        *(paths(library, f"keyword:{name}") for name in TOLD)
    )
    facets = {one.value: one.count for one in library.facets().keyword}
    assert facets == {name: count for name, count in made.labels.items() if count}
    hit = library.search("keyword:red", k=1)[0]
    assert "red" in hit.item.tags
    assert "red" in hit.as_dict()["tags"]  # type: ignore[operator]
    assert "keyword" in library.search("red", k=1)[0].why.fields
    assert_words_are_right(library)


def test_classifying_is_what_tagging_gives(library: Library, photos: Path) -> None:
    found = list(library.classify(TOLD))
    ids = np.concatenate([one.ids for one in found])
    names = [several for one in found for several in one.names(LOW)]
    assert ids.tolist() == sorted(ids.tolist())
    library.tag(TOLD, min_share=LOW)
    assert {one.id: one.tags for one in library.items(ids)} == {
        id: tuple(sorted(several)) for id, several in zip(ids.tolist(), names, strict=True)
    }


def test_tagging_replaces_its_own_words_and_no_others(
    catalog: Catalog, library: Library, photos: Path
) -> None:
    with catalog.writing() as tx:
        tx.add_items([NewItem("image", digest(99), ENCODER.embed_texts(["red"])[0])])
        about = Metadata(keywords=("holiday", "red"))
        content = Content("image", digest(99), metadata=about)
        tx.set_file(ROOT, NewFile(f"{ROOT}/mine.png", 1, 1, [content]))
    library.tag(TOLD, min_share=LOW)
    before = paths(library, "keyword:red")
    assert "mine" in before
    dry = library.tag(["yellow"], min_share=LOW, dry_run=True)
    assert (paths(library, "keyword:red"), dry.labels["yellow"] > 0) == (before, True)
    library.tag(["yellow"], min_share=LOW)
    assert paths(library, "keyword:red") == paths(library, "keyword:holiday") == {"mine"}
    assert len(paths(library, "keyword:yellow")) == dry.labels["yellow"]
    library.tag(["cyan"], min_share=LOW, where="name:cyan")  # the others stay as they are
    assert paths(library, "keyword:cyan") == {"cyan"}
    assert len(paths(library, "keyword:yellow") | {"cyan"}) >= dry.labels["yellow"]
    assert library.drop_tags() > 0
    assert paths(library, "has:keyword") == {"mine"}
    assert [one.value for one in library.facets().keyword] == ["holiday", "red"]
    assert_words_are_right(library)
    with pytest.raises(BadInput, match="no labels were given yet"):
        library.tag()
    assert library.tag_new() is None


def test_tags_stay_with_a_picture_and_go_with_it(
    catalog: Catalog, library: Library, photos: Path
) -> None:
    library.tag(TOLD, min_share=LOW)
    place = str(photos / "red.png")
    number = list(COLOURS).index("red")
    with catalog.writing() as tx:  # read again, and copied
        for path in (place, str(photos / "copy of it.png")):
            tx.set_file(ROOT, NewFile(path, 2, 2, [Content("image", digest(number))]))
    assert "red" in paths(library, "keyword:red")
    with catalog.knowing(ROOT) as known:
        files = known.files(str(photos)).ids
    with catalog.writing() as tx:
        tx.drop_files([files["red.png"], files["copy of it.png"]])
        tx.drop_orphans()
    assert "red" not in paths(library, "keyword:red")
    assert_words_are_right(library)


def test_new_pictures_get_what_was_given_last(
    catalog: Catalog, library: Library, photos: Path
) -> None:
    library.tag(["red", "green: green; a green one"], min_share=LOW, where="path:*new*|*.png")
    for number, (name, colour) in enumerate((("new", "green"), ("other", "green")), 100):
        row: Vectors = ENCODER.embed_texts([colour])[0] + np.float32(0.01)
        with catalog.writing() as tx:
            tx.add_items([NewItem("image", digest(number), row / np.linalg.norm(row))])
            content = [Content("image", digest(number))]
            tx.set_file(ROOT, NewFile(f"{ROOT}/{name}", 1, 1, content))
    before = paths(library, "keyword:green")
    made = library.tag_new()
    assert made is not None
    assert (made.pictures, made.tagged) == (1, 1)
    assert paths(library, "keyword:green") == before | {"new"}
    again = library.tag()
    assert again.pictures == len(COLOURS) + 1
    assert paths(library, "keyword:green") == before | {"new"}


def test_pictures_that_went_away_are_passed_over(catalog: Catalog, photos: Path) -> None:
    with catalog.writing() as tx:
        tx.set_tags({10**6: ("red",), 1: ("red", "red")})
    assert catalog.items([1])[1].tags == ("red",)


def test_an_empty_library_has_nothing_to_tag(catalog: Catalog, tmp_path: Path) -> None:
    with Library.open(catalog.directory, encoder=ENCODER) as library:
        assert list(library.classify(["red"])) == []
        assert library.tag(["red"]).as_dict() == {
            "pictures": 0,
            "tagged": 0,
            "labels": [{"label": "red", "pictures": 0}],
        }
        for share in (0.0, 1.5, float("nan")):
            with pytest.raises(BadInput, match="share"):
                library.tag(["red"], min_share=share)
    Catalog.open(tmp_path / "nothing", create=True).close()
    with (
        Library.open(tmp_path / "nothing", encoder=ENCODER) as library,
        pytest.raises(NoLibrary),
    ):
        library.tag(["red"])


def test_many_labels_are_judged_in_small_blocks(library: Library, photos: Path) -> None:
    many = [f"label {one}" for one in range(MAX_LABELS)]
    assert sum(map(len, library.classify(many))) == len(COLOURS)
    assert label_vectors(ENCODER, Vocabulary.of(["red"]).labels).shape == (1, 4)


def test_the_page_of_a_picture_shows_its_labels(library: Library, photos: Path) -> None:
    (hit,) = library.search("name:red", k=1)
    with TestClient(create_app(library)) as client:
        assert 'class="keywords"' not in client.get(f"/items/{hit.id}").text
        library.tag(TOLD, min_share=LOW)
        page = client.get(f"/items/{hit.id}").text
        assert re.search(r'<ul class="keywords">.*>red<.*</ul>', page, re.DOTALL)
        assert "red" in client.get(f"/api/items/{hit.id}").json()["tags"]


def test_labels_need_a_model(tmp_path: Path) -> None:
    with searchx.create(tmp_path / "shop", dim=4, name="ours") as library:
        assert list(library.classify(["red"])) == []
        library.add(["a"], np.eye(1, 4))
        with pytest.raises(BadInput, match="need the model of the library"):
            library.classify(["red"])
        with pytest.raises(BadInput, match="need the model of the library"):
            library.tag(["red"])
