"""Embed pairs and further captions once, for the benchmarks that need vectors of real contents.

``python -m tests.benchmarks.embeddings OUT PAIRS... [--texts FILE.txt.gz ...] [--model NAME]``

writes for each place of pairs ``NAME.images.npy`` and ``NAME.captions.npy``, row by row beside each
other (the first caption of each picture), ``NAME.captions.txt``, and for each file of texts
``NAME.texts.npy`` and ``NAME.texts.txt``. What is there already is not embedded again.
"""

import argparse
import gzip
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from searchx.encoder import Encoder, load_encoder
from searchx.evaluation import embed_pictures
from searchx.pairs import read_pairs
from searchx.records import Vectors

BLOCK = 256


def embed_texts(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    blocks = [
        encoder.embed_texts(texts[start : start + BLOCK]) for start in range(0, len(texts), BLOCK)
    ]
    return np.concatenate(blocks)


def save(place: Path, vectors: Vectors) -> None:
    np.save(place, vectors.astype(np.float16))
    print(f"{place.name}: {vectors.shape}", flush=True)


def embed_pairs(encoder: Encoder, place: Path, out: Path) -> None:
    name = place.name.removesuffix(place.suffix)
    if (out / f"{name}.images.npy").exists():
        return
    pairs = read_pairs([place])
    started = time.perf_counter()
    captions = [" ".join(pair.captions[0].split()) for pair in pairs]
    (out / f"{name}.captions.txt").write_text("\n".join(captions), encoding="utf-8")
    save(out / f"{name}.captions.npy", embed_texts(encoder, captions))
    save(out / f"{name}.images.npy", embed_pictures(encoder, pairs))
    print(f"{place.name}: {time.perf_counter() - started:.0f} s", flush=True)


def embed_lines(encoder: Encoder, file: Path, out: Path, limit: int) -> None:
    name = file.name.split(".")[0]
    if (out / f"{name}.texts.npy").exists():
        return
    with gzip.open(file, "rt", encoding="utf-8") as opened:
        lines = [line.strip() for line in opened if line.strip()]
    chosen = sorted(np.random.default_rng(0).permutation(len(lines))[:limit])
    texts = [lines[one] for one in chosen]
    (out / f"{name}.texts.txt").write_text("\n".join(texts), encoding="utf-8")
    save(out / f"{name}.texts.npy", embed_texts(encoder, texts))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("pairs", type=Path, nargs="+")
    parser.add_argument("--texts", type=Path, nargs="*", default=[])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--limit", type=int, default=20_000, help="texts taken of each file")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    encoder = load_encoder(asked.model, "auto", print)
    for file in asked.texts:
        embed_lines(encoder, file, asked.out, asked.limit)
    for place in asked.pairs:
        embed_pairs(encoder, place, asked.out)


if __name__ == "__main__":
    main()
