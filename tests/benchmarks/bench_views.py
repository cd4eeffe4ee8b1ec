"""Items of several views: one fused vector beside each view alone, item to item.

``python -m tests.benchmarks.bench_views PAIRS.parquet [PAIRS.parquet ...] [--items N]``

Each picture with its title (the first caption) is a product. Two are like each other where they
share at least half of their labels (COCO: the objects seen) or, where the last caption is a list
of keywords as in openclipart, half of those; of them no vector is made. For every product that has
somebody like it, all others are ranked: nDCG@10 and precision@10 with 95 % intervals, and the
difference to the picture alone, product by product. The last part leaves half of the products
without a title, as catalogues are.
"""

import argparse
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from searchx.encoder import Encoder, load_encoder
from searchx.fusing import Rows, fused, unit
from searchx.measures import Measured, difference, measure
from searchx.records import Ids, Vectors

K = 10
ALIKE = 0.5  # share of all keywords of two that both have
WEIGHTS = (0.25, 0.5, 1.0, 2.0)  # of the title, beside 1 for the picture


@dataclass(frozen=True, slots=True)
class Products:
    images: Vectors  # (n, dim)
    titles: Vectors  # (n, dim)
    relevant: list[Ids]  # of each, the places of those like it


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("pairs", nargs="+", type=Path)
    arguments.add_argument("--items", type=int, default=2000)
    asked = arguments.parse_args()
    products = read(asked.pairs, asked.items, load_encoder("mini"))
    rows = [place for place, of in enumerate(products.relevant) if len(of)]
    print(f"{len(products.images)} products, {len(rows)} of them have somebody like them")
    gap = float(np.linalg.norm(products.images.mean(0) - products.titles.mean(0)))
    print(f"the means of pictures and titles are {gap:.2f} apart")
    everyone = np.ones(len(products.images), np.bool_)
    report("every product has a title", products, everyone)
    some = np.random.default_rng(0).random(len(products.images)) < 0.5
    report("half of them have a title", products, some)


def read(files: Sequence[Path], most: int, encoder: Encoder) -> Products:
    images, titles, told = [], [], []
    for picture, captions, labels in rows_of(files, most):
        with Image.open(io.BytesIO(picture)) as opened:
            images.append(encoder.fit(opened.convert("RGB")))
        titles.append(captions[0])
        is_listed = len(captions) > 1 and "," in captions[-1]
        told.append(frozenset(captions[-1].split(", ") if is_listed else labels))
    seen = [encoder.embed_images(images[at : at + 64]) for at in range(0, len(images), 64)]
    return Products(np.concatenate(seen), encoder.embed_texts(titles), _sharing(told))


def rows_of(files: Sequence[Path], most: int) -> Iterator[tuple[bytes, list[str], list[str]]]:
    left = most
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(256):
            for row in batch.to_pylist():
                if left and row["labels"] and row["captions"]:
                    left -= 1
                    yield row["image"]["bytes"], row["captions"], row["labels"]


def _sharing(told: Sequence[frozenset[str]]) -> list[Ids]:
    """Give those that share at least half of what was told of them."""

    def alike(one: frozenset[str], other: frozenset[str]) -> bool:
        return len(one & other) >= ALIKE * len(one | other)

    return [
        np.array([at for at, two in enumerate(told) if at != place and alike(one, two)], np.int64)
        for place, one in enumerate(told)
    ]


def report(title: str, products: Products, has_title: np.ndarray) -> None:
    print(f"\n{title}\n{'':34}{'nDCG@10':24}{'precision@10':24}nDCG beside the picture")
    base: Measured | None = None
    for name, rows in ways(products, has_title).items():
        found = measured(rows, products.relevant)
        base = base or found
        ahead = difference(found, base)["ndcg@10"]
        print(f"{name:34}{found['ndcg@10']!s:24}{found['precision@10']!s:24}{ahead}")


def ways(products: Products, has_title: np.ndarray) -> Mapping[str, Vectors]:
    """Give the vectors of all products, by how they were made."""
    images, titles = products.images, products.titles
    everyone = np.ones(len(images), np.bool_)
    views = {"image": Rows(images, everyone), "title": Rows(titles, has_title)}
    means = {"image": images.mean(0), "title": titles[has_title].mean(0)}
    both = {"image": 1.0, "title": 1.0}
    found: dict[str, Vectors] = {"picture alone": images}
    found["picture alone, centred"] = unit(images - means["image"])
    if has_title.all():
        found["title alone"] = titles
        found["title alone, centred"] = unit(titles - means["title"])
    found["fused as they are"] = fused(views, both)
    found["fused, moved onto the pictures"] = fused(
        views | {"title": Rows(unit(titles - means["title"] + means["image"]), has_title)}, both
    )
    found["fused, by a learned map"] = fused(
        views | {"title": Rows(_mapped(images, titles, has_title), has_title)}, both
    )
    for weight in WEIGHTS:
        found[f"fused, centred, title x {weight:g}"] = fused(views, both | {"title": weight}, means)
    return found


def _mapped(images: Vectors, titles: Vectors, known: np.ndarray) -> Vectors:
    """Move titles to where their pictures are, by ridge regression over the products themselves."""
    asked = np.c_[titles, np.ones(len(titles), np.float32)]
    some = asked[known]
    inner = some.T @ some + 10 * np.eye(some.shape[1], dtype=np.float32)
    return unit(asked @ np.linalg.solve(inner, some.T @ images[known]))


def measured(rows: Vectors, relevant: Sequence[Ids]) -> Measured:
    """Rank all others for each product that has somebody like it."""
    asked = np.array([place for place, of in enumerate(relevant) if len(of)])
    scores = rows[asked] @ rows.T
    scores[np.arange(len(asked)), asked] = -np.inf
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return measure(np.take_along_axis(best, order, axis=1), [relevant[one] for one in asked], (K,))


if __name__ == "__main__":
    main()
