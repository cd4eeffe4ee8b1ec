"""Do prompt templates help a model: whole captions and short queries, with and without them.

``python -m tests.benchmarks.bench_prompts EMBEDDINGS LABELLED.parquet [--captions NAME]``

EMBEDDINGS is what ``tests.benchmarks.embeddings`` wrote, and holds the pictures of LABELLED. Three
kinds of queries: captions (recall of their own picture among those of NAME), the object labels of
LABELLED, and words that are frequent in its captions (precision@10 and average precision over
all of its pictures: a picture is right when it carries the label, or the word in its caption).
"""

import argparse
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from searchx.encoder import Encoder, load_encoder
from searchx.records import Vectors

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "{}": ("{}",),
    "a photo of {}": ("a photo of {}",),
    "a photo of a {}.": ("a photo of a {}.",),
    "a {}": ("a {}",),
    "an image of {}.": ("an image of {}.",),
    "there is a {} in the scene": ("there is a {} in the scene",),
    "mean: {}, a photo of {}": ("{}", "a photo of {}"),
    "mean: {}, a {}": ("{}", "a {}"),
    "mean: a photo of {}, a {}, there is": ("a photo of {}", "a {}", "there is a {} in the scene"),
    "mean: the last and {}": ("{}", "a photo of {}", "a {}", "there is a {} in the scene"),
}
CAPTIONS = 400
WORDS = 60


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("--captions", default="coco-1k")
    parser.add_argument("--model", default="mini")
    asked = parser.parse_args()
    encoder = load_encoder(asked.model, "cpu", print)
    folder, name = asked.embeddings, asked.captions
    captions = (folder / f"{name}.captions.txt").read_text(encoding="utf-8").split("\n")
    captions_table(encoder, captions, rows(folder / f"{name}.images.npy"))
    pictures = rows(folder / f"{asked.labelled.stem}.images.npy")
    for title, right in queries_of(asked.labelled).items():
        short_table(encoder, title, right, pictures)


def rows(file: Path) -> Vectors:
    return np.load(file).astype(np.float32)  # type: ignore[no-any-return]


def queries_of(labelled: Path) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Give short queries of two kinds, each with the pictures that are right, (n,)."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(labelled, columns=["captions", "labels"]).to_pylist()
    labels = [set(row["labels"]) for row in table]
    words = [set(re.findall(r"[a-z]+", " ".join(row["captions"]).lower())) for row in table]
    often = Counter(word for one in words for word in one if len(word) > 3)
    chosen = [word for word, count in often.most_common() if 20 <= count <= 150][:WORDS]
    common = [label for label, count in Counter(x for y in labels for x in y).items() if count > 19]
    return {"labels": holders(labels, sorted(common)), "words of captions": holders(words, chosen)}


def holders(held: Sequence[set[str]], queries: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    return {query: np.array([query in one for one in held]) for query in queries}


def embedded(encoder: Encoder, texts: Sequence[str], templates: Sequence[str]) -> Vectors:
    """Embed texts as the unit means of what the templates make of them, (n, dim)."""
    total = np.sum(
        [encoder.embed_texts([one.format(text) for text in texts]) for one in templates], axis=0
    )
    return total / np.linalg.norm(total, axis=1, keepdims=True)  # type: ignore[no-any-return]


def captions_table(encoder: Encoder, captions: Sequence[str], pictures: Vectors) -> None:
    chosen = np.random.default_rng(0).permutation(len(captions))[:CAPTIONS]
    texts = [captions[one] for one in chosen]
    print(f"{len(texts)} captions among {len(pictures)} pictures")
    print(f"{'':36} {'R@1':>6} {'R@10':>6} {'MRR':>6}  better / worse than none")
    before = None
    for title in ("{}", "a photo of {}", "an image of {}.", "mean: {}, a photo of {}"):
        scores = embedded(encoder, texts, TEMPLATES[title]) @ pictures.T  # (q, n)
        own = scores[np.arange(len(texts)), chosen]
        ranks = (scores >= own[:, None]).sum(axis=1)
        before = ranks if before is None else before
        moved = f"{(ranks < before).sum():4} / {(ranks > before).sum()}"
        print(
            f"{title:36} {(ranks <= 1).mean():6.3f} {(ranks <= 10).mean():6.3f} "
            f"{(1 / ranks).mean():6.3f}  {moved}",
            flush=True,
        )


def short_table(
    encoder: Encoder, title: str, right: Mapping[str, NDArray[np.bool_]], pictures: Vectors
) -> None:
    print(f"{len(right)} {title} among {len(pictures)} pictures")
    print(f"{'':36} {'P@10':>6} {'AP':>6}  better / worse than none, by AP")
    before: NDArray[np.float64] | None = None
    for name, templates in TEMPLATES.items():
        scores = embedded(encoder, list(right), templates) @ pictures.T  # (q, n)
        orders = np.argsort(-scores, axis=1, kind="stable")
        hits = np.array([true[order] for true, order in zip(right.values(), orders, strict=True)])
        precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
        average = (precision * hits).sum(axis=1) / hits.sum(axis=1)
        before = average if before is None else before
        moved = f"{(average > before).sum():4} / {(average < before).sum()}"
        print(
            f"{name:36} {hits[:, :10].mean():6.3f} {average.mean():6.3f}  {moved}",
            flush=True,
        )


if __name__ == "__main__":
    main()
