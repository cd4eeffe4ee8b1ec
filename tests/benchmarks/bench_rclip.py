"""A first index and a first answer by searchx and by rclip, the same photos and the same weights.

    python -m venv peer && peer/bin/python -m pip install rclip
    python -m tests.benchmarks.bench_rclip FOLDER peer/bin/rclip [ROUNDS] [COUNT]

rclip knows one model, ViT-B-32-256 as ONNX; both get random weights of it, which do for speed. Each
round indexes COUNT photos into a new library and asks one question, both in new processes that load
the model; searchx has it prepared once before, which is told apart. Rounds take turns; the table
gives medians. Their answers are compared as well: random weights or not, the same vectors rank the
same.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from searchx.encoder.weights import load_open_clip
from tests.benchmarks import onnx_towers
from tests.benchmarks.bench_cold_start import COMMAND
from tests.benchmarks.bench_indexing import pictures
from tests.benchmarks.random_models import random_model

_ARCHITECTURE: Final = "ViT-B-32-256"
_WEIGHTS: Final = "ViT-B-32-256-datacomp_s34b_b86k"  # the folder in which rclip looks for them
_QUESTION: Final = "a dog on the beach"
_SHOWN: Final = "10"


def export(model: Any, tokenizer: Any, place: Path) -> None:
    """Write the towers as rclip takes them: `input` to `output`, of any number of rows."""
    import torch

    (place / _WEIGHTS).mkdir(parents=True)
    towers = {
        "visual": ("encode_image", torch.zeros(2, 3, 256, 256)),
        "textual": ("encode_text", tokenizer(["a", "a dog"])),
    }
    for name, (encode, example) in towers.items():
        onnx_towers.write(model, encode, example, place / _WEIGHTS / f"{name}.onnx")


def vocabulary(place: Path) -> None:
    """Put CLIP's vocabulary where rclip looks for it."""
    import open_clip

    kept = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    (place / "tokenizer").mkdir()
    shutil.copy(kept, place / "tokenizer")


def run(command: list[str], folder: Path, **settings: str) -> tuple[float, list[str]]:
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=os.environ | settings, check=True, capture_output=True, text=True
    )
    return time.perf_counter() - started, done.stdout.splitlines()


class Round(NamedTuple):
    seconds: tuple[float, float]  # indexing and asking first; asking again
    names: list[str]  # of what was found


def theirs(rclip: str, folder: Path, data: Path) -> Round:
    """Index and ask, then ask again; rclip does both in one command."""
    for one in data.glob("*.sqlite*"):
        one.unlink()
    settings = {"RCLIP_DATADIR": str(data), "HF_HUB_OFFLINE": "1"}
    first, _ = run([rclip, _QUESTION, "-t", _SHOWN, "-f"], folder, **settings)
    again, lines = run([rclip, _QUESTION, "-t", _SHOWN, "-f", "-n"], folder, **settings)
    return Round((first, again), [Path(one).name for one in lines])


def ours(model: str, folder: Path, library: Path) -> Round:
    shutil.rmtree(library, ignore_errors=True)
    into = ["--library", str(library)]
    index, _ = run([*COMMAND, "index", str(folder), "--model", model, *into], folder)
    command = [*COMMAND, "search", _QUESTION, "-k", _SHOWN, *into]
    first, _ = run(command, folder)
    again, lines = run(command, folder)
    names = [Path(one.split(maxsplit=1)[-1]).name for one in lines]
    return Round((index + first, again), names)


def main(folder: str, rclip: str, rounds: str = "3", count: str = "500") -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        model = random_model(_ARCHITECTURE, place / "model")
        export(*load_open_clip(model), place / "rclip")
        vocabulary(place / "rclip")
        photos = place / "photos"
        photos.mkdir()
        for one in pictures(str(Path(folder).absolute()))[: int(count)]:
            shutil.copy(one.path, photos)
        seconds, _ = run([*COMMAND, "models", "pull", model], photos)
        print(f"preparing the model for this processor, once: {seconds:.1f} s", flush=True)
        found = [
            (theirs(rclip, photos, place / "rclip"), ours(model, photos, place / "library"))
            for _ in range(int(rounds))
        ]
    for part, name in enumerate(("index and first answer", "the next answer")):
        them, us = (median(each[side].seconds[part] for each in found) for side in (0, 1))
        print(f"{name:24} rclip {them:7.2f} s   searchx {us:7.2f} s   {them / us:5.2f} x")
    they, we = (one.names for one in found[-1])
    print(f"of {_SHOWN} answers, {len(set(they) & set(we))} are the same")


if __name__ == "__main__":
    main(*sys.argv[1:])
