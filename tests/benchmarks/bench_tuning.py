"""What each method of training gains on a domain that a model is bad at, and what it forgets.

``python -m tests.benchmarks.bench_tuning CLIPART.parquet... --photos coco-1k --work DIR
[--methods head lora ...]``

The pairs are split once, into DIR/train.parquet and DIR/held.parquet: pictures that share a title,
or look the same as thumbnails, are on one side, and of those that are held out one is measured on.
Each method starts from the same model. DIR keeps what was measured, and the table shows all of it.
"""

import argparse
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchx.encoder import load_encoder
from searchx.evaluation import evaluate
from searchx.pairs import Pair, read_pairs
from searchx.pictures.images import open_image
from searchx.training import Settings, train
from searchx.training.feeds import Say

HELD = 0.25  # of the groups of alike pictures
EACH = 2  # of a group to learn from: some are long series
ALIKE = 0.995  # cosine of two thumbnails without their mean, from which on they are alike
LEARNED = 1_500  # pairs
SIDE = 16  # of a thumbnail
# The image tower is fixed but for its projection: on two cores it would take an hour.
TRUNK: dict[str, Any] = {"unlock_image": 0, "epochs": 2, "batch": 32}
METHODS = {
    "head": Settings(Path(), method="head", epochs=30, batch=256, rate=1e-3),
    "head, 7 hard negatives": Settings(
        Path(), method="head", epochs=30, batch=256, rate=1e-3, hard_negatives=7
    ),
    "bitfit": Settings(Path(), method="bitfit", rate=4e-3, **TRUNK),
    "lora": Settings(Path(), method="lora", rate=2e-3, **TRUNK),
    "prompt": Settings(Path(), method="prompt", epochs=5, rate=1e-2),
    "full": Settings(Path(), method="full", rate=2e-4, **TRUNK),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clipart", type=Path, nargs="+")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--methods", nargs="*", default=["none", *METHODS])
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    os.environ["SEARCHX_RUNTIME"] = "torch"  # each model is used once: not worth preparing
    if not (asked.work / "held.parquet").exists():
        split(read_pairs(asked.clipart), asked.work)
    results = asked.work / "results.json"
    measured = json.loads(results.read_text()) if results.exists() else {}
    for method in asked.methods:
        measured[method] = run(asked.work, method, asked.model, asked.photos)
        results.write_text(json.dumps(measured, indent=1))
    table(measured)


def split(pairs: Sequence[Pair], work: Path) -> None:
    told = [Pair(one.image, (said,)) for one in pairs if (said := cleaned(one.captions))]
    groups = alike(told)
    order = np.random.default_rng(0).permutation(int(groups.max()) + 1)
    held = np.isin(groups, order[: round(HELD * len(order))])
    chosen = np.random.default_rng(1).permutation(len(groups))
    seen = np.zeros(len(order), np.int64)
    measured, learned = list[Pair](), list[Pair]()
    for row in chosen:
        seen[groups[row]] += 1
        if seen[groups[row]] <= (1 if held[row] else EACH):
            (measured if held[row] else learned).append(told[row])
    print(f"{len(told)} pairs in {len(order)} groups: {len(learned)} and {len(measured)} held out")
    write(learned[:LEARNED], work / "train.parquet")
    write(measured, work / "held.parquet")


def cleaned(captions: Sequence[str]) -> str:
    """Give what a title and keywords say, in one text; empty where they say nothing."""
    parts = []
    for one in captions:
        one = re.sub(r"^Clipart by [\w .]+ - ", "", one).replace("_", " ")
        words = [word.strip() for word in one.split(",")]
        parts.append(", ".join(word for word in words if word and word != "unsorted"))
    said = ": ".join(dict.fromkeys(part for part in parts if part))
    return said if re.search(r"[A-Za-z]{3}", said) else ""


def alike(pairs: Sequence[Pair]) -> NDArray[np.int64]:
    """Number the groups of pairs that share a title or look the same, (n,)."""
    thumbnails = np.stack([thumbnail(one) for one in pairs])
    parent = list(range(len(pairs)))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = one = parent[parent[one]]
        return one

    for one, other in (*same_titles(pairs), *near(thumbnails)):
        parent[root(one)] = root(other)
    return np.unique([root(one) for one in range(len(pairs))], return_inverse=True)[1]


def same_titles(pairs: Sequence[Pair]) -> Iterator[tuple[int, int]]:
    known: dict[str, int] = {}
    for place, one in enumerate(pairs):
        title = re.sub(r"[^a-z]+", " ", one.captions[0].partition(":")[0].lower()).strip()
        if title:
            yield place, known.setdefault(title, place)


def near(rows: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    for start in range(0, len(rows), 500):
        first, second = np.nonzero(rows[start : start + 500] @ rows.T > ALIKE)
        yield from zip((first + start).tolist(), second.tolist(), strict=True)


def thumbnail(pair: Pair) -> NDArray[np.float32]:
    pixels = np.asarray(open_image(pair.image).resize((SIDE, SIDE)), np.float32).ravel()
    apart = pixels - pixels.mean()
    return (apart / max(np.linalg.norm(apart), 1e-6)).astype(np.float32)  # type: ignore[no-any-return]


def write(pairs: Sequence[Pair], place: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    images = [{"bytes": one.image, "path": None} for one in pairs]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    captions = pa.array([list(one.captions) for one in pairs], pa.list_(pa.string()))
    table = pa.table({"image": pa.array(images, kind), "captions": captions})
    pyarrow.parquet.write_table(table, place)


def run(work: Path, method: str, model: str, photos: Path) -> dict[str, float | str]:
    lines: list[str] = []
    seconds = 0.0
    if method != "none":
        settings = replace(
            METHODS[method], out=work / method.replace(", ", "-").replace(" ", "-"), validation=0.05
        )
        began = time.monotonic()
        model = str(train(model, read_pairs([work / "train.parquet"]), settings, told(lines)))
        seconds = time.monotonic() - began
    encoder = load_encoder(model, "cpu")
    found = evaluate(encoder, read_pairs([work / "held.parquet"]))
    kept = evaluate(encoder, read_pairs([photos]))
    trained = next((one for one in lines if "are trained" in one), ": 0 of")
    return {
        "trained": trained.partition(": ")[2].partition(" of")[0],
        "seconds": round(seconds),
        "text to image": found.text_to_image.recall_at_10,
        "image to text": found.image_to_text.recall_at_10,
        "photos, text to image": kept.text_to_image.recall_at_10,
        "photos, image to text": kept.image_to_text.recall_at_10,
    }


def told(lines: list[str]) -> Say:
    def say(line: str) -> None:
        lines.append(line)
        print(f"  {line}", flush=True)

    return say


def table(measured: dict[str, dict[str, float | str]]) -> None:
    print(f"{'method':24} {'trained':>12} {'seconds':>8}  held out t2i, i2t   photos t2i, i2t")
    for method, row in measured.items():
        recalls = [f"{100 * value:8.1f}" for value in list(row.values())[2:] if value != str(value)]
        print(f"{method:24} {row['trained']:>12} {row['seconds']:>8}  {'  '.join(recalls)}")


if __name__ == "__main__":
    main()
