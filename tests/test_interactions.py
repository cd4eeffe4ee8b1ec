"""Training on pictures that people put together, and batches that are hard on purpose."""

import csv
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchx.errors import BadInput
from searchx.pairs import Pair
from searchx.training import Settings, read_links, train
from searchx.training.mining import apart, beside_neighbours
from tests.colour import paint

SAID: Callable[[str], None] = lambda _: None  # noqa: E731


def nobody(_: Sequence[int]) -> Mapping[int, Path]:
    return {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that people put together by how red they are, whatever else they are."""
    place = tmp_path_factory.mktemp("put together")
    chance = random.Random(0)
    rows = []
    for number in range(60):
        red = chance.randint(0, 255)
        for name in ("seen", "bought"):
            other = chance.randint(0, 255), chance.randint(0, 255)
            paint(place / f"{name} {number}.png", (red, *other))
        rows.append((f"seen {number}.png", f"bought {number}.png"))
    with (place / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("seen", "bought"), *rows])
    return place


def table(place: Path, **columns: object) -> Path:
    pyarrow.parquet.write_table(pa.table(columns), place / "links.parquet")
    return place / "links.parquet"


def test_pictures_that_belong_together_come_near(
    tiny_model: Path, folder: Path, tmp_path: Path
) -> None:
    links = read_links(folder / "pairs.csv", nobody)
    assert (len(links), len(links.pictures)) == (60, 120)
    for method, rate in (("head", 1e-2), ("lora", 1e-2)):
        out = tmp_path / method
        settings = Settings(
            out,
            method=method,  # type: ignore[arg-type]
            epochs=6,
            batch=12,
            rate=rate,
            validation=0.3,
            patience=6,
        )
        train(str(tiny_model), (), settings, SAID, links=links)
        with (out / "curve.csv").open(encoding="utf-8") as file:
            curve = [row["item_to_item"] for row in csv.DictReader(file)]
        assert max(map(float, curve)) > float(curve[0]) + 0.05, method


def test_pairs_and_interactions_are_learned_together(
    tiny_model: Path, folder: Path, tmp_path: Path
) -> None:
    links = read_links(folder / "pairs.csv", nobody)
    pairs = [Pair(folder / f"bought {one}.png", (f"night {one}",)) for one in range(20)]
    lines: list[str] = []
    settings = Settings(tmp_path, epochs=1, batch=8, validation=0.2)
    train(str(tiny_model), pairs, settings, lines.append, links=links)
    for told in ("text to image", "image to text", "item to item"):
        assert told in lines[-1]
    file = table(tmp_path, a=[str(folder / "bought 1.png")], b=[str(folder / "bought 2.png")])
    other = read_links(file, nobody)
    with pytest.raises(BadInput, match="too few"):
        train(str(tiny_model), (), replace(settings, out=tmp_path / "few"), SAID, links=other)


def test_ids_weights_and_times_are_read(folder: Path, tmp_path: Path) -> None:
    held = {one: folder / f"bought {one}.png" for one in range(1, 6)}
    file = table(
        tmp_path,
        time=pa.array([4_000, 1_000, 3_000, 2_000], pa.timestamp("ms")),
        item=[1, 2, 3, 4],
        other=[2, 3, 3, 5],
        weight=[1.0, 0.5, 1.0, 0.0],
    )
    links = read_links(file, lambda ids: {one: held[one] for one in ids})
    named = [[links.pictures[one] for one in row] for row in links.sides]
    assert named == [[held[1], held[2]], [held[2], held[3]]]  # not with itself, nor by no weight
    assert links.weights.tolist() == [1.0, 0.5]
    learned, kept = links.parted(0.5, 0)
    assert kept.sides.tolist() == [links.sides[0].tolist()]  # the latest
    assert learned.sides.tolist() == [links.sides[1].tolist()]


def test_what_nothing_can_be_learned_from_is_refused(
    tiny_model: Path, folder: Path, tmp_path: Path
) -> None:
    many = [str(folder / f"seen {one}.png") for one in range(20)]
    file = table(tmp_path, a=many, b=[str(folder / "bought 0.png")] * 20)  # one is linked to all
    links, settings = read_links(file, nobody), Settings(tmp_path / "out", epochs=1)
    with pytest.raises(BadInput, match="comes twice; use a smaller --batch"):
        train(str(tiny_model), (), settings, SAID, links=links)
    with pytest.raises(BadInput, match="here it is fixed"):
        fixed = replace(settings, out=tmp_path / "fixed", unlock_image=0)
        train(str(tiny_model), (), fixed, SAID, links=links)
    for change in (replace(settings, method="prompt"), replace(settings, teacher=file)):
        with pytest.raises(BadInput, match="need pairs"):
            train(str(tiny_model), (), change, SAID, links=links)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": ["x.png"]}, "two columns"),
        ({"a": ["nowhere.png"], "b": ["bought 1.png"]}, "nowhere.png, which is no file"),
        ({"a": [7], "b": [8]}, "item 7"),
        ({"a": [None], "b": ["bought 1.png"]}, "row 1: a is None"),
        ({"a": ["bought 1.png"], "b": ["bought 1.png"]}, "no two different"),
        ({"a": ["bought 1.png"], "b": ["bought 2.png"], "weight": [-1.0]}, "weight below 0"),
        ({"a": ["bought 1.png"], "b": ["bought 2.png"], "weight": ["much"]}, "no number"),
        ({"a": ["bought 1.png"], "b": ["bought 2.png"], "time": [None]}, "time"),
    ],
)
def test_interactions_that_cannot_be_are_refused(
    folder: Path, columns: dict[str, object], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        read_links(table(folder, **columns), nobody)


def test_files_that_hold_no_interactions_are_refused(tmp_path: Path) -> None:
    for name, said in (("a.txt", "holds no interactions"), ("a.csv", "missing")):
        with pytest.raises(BadInput, match=said):
            read_links(tmp_path / name, nobody)
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    (tmp_path / "b.csv").write_bytes(b"")
    for name in ("b.parquet", "b.csv"):
        with pytest.raises(BadInput, match="cannot be read"):
            read_links(tmp_path / name, nobody)


def test_a_training_with_hard_negatives_goes_on_as_it_would_have(
    tiny_model: Path, folder: Path, tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    def stop_after_two_epochs(line: str) -> None:
        if line.startswith("epoch 2/4"):
            raise StopError

    pairs = [Pair(folder / f"bought {one}.png", (f"night {one}",)) for one in range(40)]
    file = table(
        tmp_path,
        a=[str(folder / f"seen {one}.png") for one in range(40)],
        b=[str(folder / f"bought {one % 25}.png") for one in range(40)],
        weight=[1.0 + one % 3 for one in range(40)],  # epochs differ in length
    )
    links = read_links(file, nobody)
    settings = Settings(
        tmp_path / "out", method="lora", epochs=4, batch=8, validation=0.2, hard_negatives=3
    )
    with pytest.raises(StopError):
        train(str(tiny_model), pairs, settings, stop_after_two_epochs, links=links)
    train(str(tiny_model), pairs, settings, SAID, links=links)
    train(str(tiny_model), pairs, replace(settings, out=tmp_path / "whole"), SAID, links=links)
    told = [(tmp_path / name / "curve.csv").read_text() for name in ("out", "whole")]
    losses = [[float(row.split(",")[1]) for row in one.splitlines()[1:]] for one in told]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    with pytest.raises(BadInput, match="do not fit in a batch"):
        train(str(tiny_model), pairs, replace(settings, hard_negatives=8), SAID)


@given(st.integers(1, 60), st.integers(1, 7), st.integers(0, 9))
def test_every_row_is_dealt_once_whatever_is_near(count: int, near: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    vectors = chance.standard_normal((80, 4)).astype(np.float16)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[::7] = 0  # not known
    order = chance.permutation(80)[:count]
    dealt = beside_neighbours(order, vectors, near, chance)
    assert sorted(dealt) == sorted(order)


def test_neighbours_stand_next_to_each_other() -> None:
    angles = np.arange(20) * (2 * np.pi / 20)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)
    dealt = beside_neighbours(np.arange(20), vectors, 1, np.random.default_rng(0))
    first, second = dealt.reshape(-1, 2).T
    steps = np.minimum((first - second) % 20, (second - first) % 20)
    # At 0.95 two are taken for the same; the nearest that are not stand two steps apart.
    assert np.median(steps) == 2


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=60), st.integers(2, 5))
def test_no_item_comes_twice_in_a_batch(sides: list[tuple[int, int]], size: int) -> None:
    batches = apart(range(len(sides)), sides, size)
    dealt = [row for batch in batches for row in batch]
    assert len(dealt) == len(set(dealt))
    for batch in batches:
        assert len(batch) == size
        items = [one for row in batch for one in set(sides[row])]
        assert len(items) == len(set(items))
