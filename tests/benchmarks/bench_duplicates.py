"""From which cosine on are two pictures near duplicates: copies missed and pictures joined.

``python -m tests.benchmarks.bench_duplicates PAIRS [--model NAME] [--copies 200]``

Copies are made of the first so many pictures of PAIRS, by the four changes of
`searchx.duplicates`. A picture is joined falsely when any other one of PAIRS is as near as the
threshold (near duplicates that PAIRS may hold are counted as false here).
"""

import argparse

import numpy as np
from PIL import Image

from searchx import duplicates
from searchx.encoder import Encoder, load_encoder
from searchx.evaluation import embed_pictures
from searchx.pairs import read_pairs
from searchx.pictures.images import open_image
from searchx.records import Vectors

THRESHOLDS = (0.90, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pairs")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--copies", type=int, default=200)
    asked = parser.parse_args()
    encoder = load_encoder(asked.model, "auto", print)
    pairs = read_pairs([asked.pairs])
    vectors = embed_pictures(encoder, pairs)
    likeness = nearest(vectors)
    side = encoder.fit.side
    pictures = [open_image(pair.image, at_least=side) for pair in pairs[: asked.copies]]
    changes = {
        "JPEG 60": duplicates.recompressed,
        "half size": lambda picture: duplicates.halved(picture, side),
        "cropped 3 %": duplicates.cropped,
        "brighter 15 %": duplicates.brightened,
    }
    own = {
        name: (vectors[: len(pictures)] * embed(encoder, [change(one) for one in pictures])).sum(1)
        for name, change in changes.items()
    }
    print(f"{encoder.space}: {len(pictures)} pictures and their copies, {len(vectors)} others")
    print("missed copies, %, at  " + " ".join(f"{name:>14}" for name in own), "     falsely joined")
    for at in THRESHOLDS:
        missed = " ".join(f"{100 * (cosines < at).mean():14.1f}" for cosines in own.values())
        print(f"{at:20.2f}   {missed} {100 * (likeness >= at).mean():14.2f} %")
    for start in range(0, min(len(pictures), 128), 32):
        some = pictures[start : start + 32]
        print(f"measured on {len(some)} pictures: {duplicates.measured(encoder, some):.4f}")


def embed(encoder: Encoder, pictures: list[Image.Image]) -> Vectors:
    size = encoder.batch_size
    starts = range(0, len(pictures), size)
    blocks = [[encoder.fit(one) for one in pictures[at : at + size]] for at in starts]
    return np.concatenate([encoder.embed_images(block) for block in blocks])


def nearest(vectors: Vectors) -> Vectors:
    """Give for each row its greatest cosine to another, (n,)."""
    found = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), 512):
        cosines = vectors[start : start + 512] @ vectors.T  # (512, n)
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -1
        found[start : start + 512] = cosines.max(axis=1)
    return found


if __name__ == "__main__":
    main()
