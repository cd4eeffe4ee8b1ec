"""Which of two models is better on pairs, and whether the pairs tell."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from indexer.pipeline import index_into
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.comparing import WAYS, Comparison, compare, pairs_of
from searchx.encoder import Encoder
from searchx.errors import BadInput
from searchx.evaluation import evaluate
from searchx.pairs import Pair
from searchx.records import Space, Vectors
from tests.colour import COLOURS, ColourEncoder, paint


class Misled(ColourEncoder):
    """Takes some colours for others."""

    def __init__(self, name: str, wrong: Sequence[str]) -> None:
        super().__init__(name)
        self.space = Space(name, f"{name}-1", 4)
        self._wrong = dict.fromkeys(wrong, "grey")

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        return super().embed_texts([self._wrong.get(one, one) for one in texts])


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    return [Pair(paint(tmp_path / f"{one}.png", one), (one,)) for one in COLOURS]


def compared(pairs: Sequence[Pair], one: Encoder, other: Encoder) -> Comparison:
    return compare([lambda: one, lambda: other], pairs)


def test_the_figures_are_those_of_measuring_each_alone(pairs: list[Pair]) -> None:
    one, other = ColourEncoder(), Misled("misled", ["red", "blue", "cyan"])
    found = compared(pairs, one, other)
    for encoder, side in ((one, "one"), (other, "other")):
        alone = evaluate(encoder, pairs).as_dict()
        for way in WAYS:
            expected = alone[way]
            assert isinstance(expected, dict)
            for name, measure in found.measures[way].items():
                assert getattr(measure, side).value == pytest.approx(expected[name])
    for way in WAYS:
        for measure in found.measures[way].values():
            assert measure.difference.value == pytest.approx(
                measure.other.value - measure.one.value
            )
            for figure in (measure.one, measure.other, measure.difference):
                assert figure.low is not None
                assert figure.high is not None
                assert figure.low <= figure.value <= figure.high


def test_what_is_better_is_said_whichever_comes_first(pairs: list[Pair]) -> None:
    good, bad = ColourEncoder(), Misled("misled", list(COLOURS)[:7])
    for found in (compared(pairs, good, bad), compared(pairs, bad, good)):
        assert found.better("text_to_image") == "colour"
        said = found.sentences()[0]
        assert said.startswith("colour finds the picture of a text better than misled")
        assert "-" not in said.split("higher by")[1]


def test_pairs_that_do_not_tell_are_not_made_to(pairs: list[Pair]) -> None:
    found = compared(pairs, Misled("one", ["red"]), Misled("other", ["blue"]))
    assert found.better("text_to_image") is None
    assert "these pairs do not tell" in found.sentences()[0]


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of many samples of ranks from one distribution, 95 % have its mean inside."""
    from searchx.comparing import _measures

    random = np.random.default_rng(0)
    truth = 0.3
    inside = 0
    for seed in range(150):
        ranks = np.where(random.random(80) < truth, 1, 50)
        found = _measures(ranks, ranks, np.arange(80), 80, 300, seed)["recall@1"]
        assert (found.difference.low, found.difference.high) == (0, 0)
        assert found.one.low is not None
        assert found.one.high is not None
        inside += found.one.low <= truth <= found.one.high
    assert 0.88 <= inside / 150 <= 0.99


def test_captions_of_one_picture_are_no_independent_witnesses(pairs: list[Pair]) -> None:
    other = Misled("misled", ["red", "blue", "cyan"])
    once = compared(pairs, ColourEncoder(), other)
    many = compared([Pair(one.image, one.captions * 9) for one in pairs], ColourEncoder(), other)
    assert many.texts == 9 * once.texts
    few, more = (found.measures["text_to_image"]["recall@1"].difference for found in (once, many))
    assert (few.low, few.value, few.high) == pytest.approx((more.low, more.value, more.high))


def test_what_cannot_be_compared_is_refused(pairs: list[Pair], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no pairs to compare by"):
        compared([], ColourEncoder(), Misled("misled", []))
    with pytest.raises(BadInput, match="are the same model"):
        compared(pairs, ColourEncoder(), ColourEncoder())
    Catalog.open(tmp_path / "empty", create=True).close()
    with closing(Catalog.open(tmp_path / "empty")) as catalog, pytest.raises(BadInput):
        pairs_of(catalog)


def test_a_library_is_compared_by_its_own_captions(tmp_path: Path) -> None:
    for one in ("red", "green", "blue"):
        paint(tmp_path / "photos" / f"{one}.png", one)
        (tmp_path / "photos" / f"{one}.txt").write_text(f"something {one}")
    paint(tmp_path / "photos" / "white.png", "white")
    library = tmp_path / "library"
    index_into(library, tmp_path / "photos", ColourEncoder(), options=Options(workers=0))
    (tmp_path / "photos" / "blue.png").unlink()
    with closing(Catalog.open(library)) as catalog:
        found, left_out = pairs_of(catalog)
        assert sorted(one.captions for one in found) == [("something green",), ("something red",)]
        assert left_out == 1
        assert len(pairs_of(catalog, most=1)[0]) == 1
