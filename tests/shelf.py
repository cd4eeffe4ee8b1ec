"""Libraries of made-up items, which are numbers: each has a vector, and a file of that name."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.records import Hit, Kind, Vectors
from searchx.search import Library
from tests.colour import ColourEncoder

ROOT = "/photos"
ENCODER = ColourEncoder()


def fresh(directory: Path) -> Catalog:
    opened = Catalog.open(directory, create=True)
    with opened.writing() as tx:
        tx.claim_space(ENCODER.space)
        tx.add_source(ROOT)
    return opened


def digest(number: int) -> str:
    return f"{number:064x}"


def vector(number: int) -> Vectors:
    row = np.random.default_rng(number).normal(size=(1, 4)).astype(np.float32)
    return row / np.linalg.norm(row).astype(np.float32)


def embed(catalog: Catalog, numbers: Sequence[int], kind: Kind = "image") -> None:
    """Leave vectors without files, as an interrupted run does."""
    with catalog.writing() as tx:
        tx.add_items([NewItem(kind, digest(one), vector(one)[0]) for one in numbers])


def locate(catalog: Catalog, numbers: Sequence[int], kind: Kind = "image") -> None:
    with catalog.writing() as tx:
        for one in numbers:
            contents = [Content(kind, digest(one))]
            tx.set_file(ROOT, NewFile(f"{ROOT}/{kind}/{one}", 1, 1, contents))


def add(catalog: Catalog, numbers: Sequence[int], kind: Kind = "image") -> None:
    embed(catalog, numbers, kind)
    locate(catalog, numbers, kind)


def drop(catalog: Catalog, numbers: Sequence[int], clean: bool = True) -> None:
    with catalog.knowing(ROOT) as known:
        files = known.files(f"{ROOT}/image").ids
    with catalog.writing() as tx:
        tx.drop_files([files[str(one)] for one in numbers if str(one) in files])
        if clean:
            tx.drop_orphans()


def answer(library: Library, number: int = 77, k: int = 10_000) -> list[tuple[int, float]]:
    """Ask with a random vector; gives the numbers of what was found with their scores."""
    ids, scores = library.search_batch(vector(number), k)
    real = [int(one) for one in ids[0] if one >= 0]
    numbers = [int(library.item(one).digest, 16) for one in real]
    return [(one, round(float(score), 4)) for one, score in zip(numbers, scores[0], strict=False)]


def expected(numbers: Sequence[int], number: int = 77) -> list[tuple[int, float]]:
    rows = {one: vector(one).astype(np.float16).astype(np.float32)[0] for one in numbers}
    scores = {one: round(float(row @ vector(number)[0]), 4) for one, row in rows.items()}
    return sorted(scores.items(), key=lambda pair: -pair[1])


def names(hits: Sequence[Hit]) -> list[str]:
    return [Path(hit.path).stem for hit in hits]
