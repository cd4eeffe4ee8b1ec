"""One model computed by plain open_clip in torch and by searchx, on the same pictures, in one run.

    python -m tests.benchmarks.bench_encoder FOLDER [MODEL] [ROUNDS] [COUNT]

MODEL is any name that searchx takes, or ``random:ARCHITECTURE`` for random weights of one of
open_clip's, which do for speed. Plain is what open_clip's README does: its model, or the base of
one in 8 bits, and its transform in single precision with all cores, batches of 16, and for whole
runs a DataLoader with a worker for each core. Rounds take turns; the table gives medians. Beside
images in a second stands how many a second of one core computes, by processor time with one thread,
which other work on the machine hardly changes. "index" is a whole run of `searchx index` into a new
library, the model loaded and prepared as `searchx models pull` does.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from PIL import Image

from indexer.pipeline import index_into
from searchx.eightbit import eight_bit
from searchx.encoder import Encoder, load_encoder
from searchx.encoder.names import canonical_name
from searchx.encoder.weights import load_open_clip
from searchx.references import prepare_references
from tests.benchmarks.bench_indexing import pictures
from tests.benchmarks.random_models import random_model

_BATCH: Final = 16
_TEXTS: Final = 20  # one after the other, as queries come


class Photos:
    """Pictures as open_clip's transform gives them, for a DataLoader."""

    def __init__(self, paths: Sequence[str], transform: Any) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Any:
        return self.transform(Image.open(self.paths[place]).convert("RGB"))


def plain_model(name: str) -> tuple[Any, Any, Any]:
    """Give open_clip's model as it loads it, its transform and its tokenizer."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    name = canonical_name(name)
    made = eight_bit(name)
    model, tokenizer = load_open_clip(name if made is None else made.base)
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    return model.float().eval(), transform, tokenizer


def plain_run(paths: Sequence[str], model: Any, transform: Any) -> None:
    """Embed files as a script with open_clip does, and keep the rows."""
    import torch

    loader: Any = torch.utils.data.DataLoader(
        Photos(paths, transform),  # type: ignore[arg-type]
        _BATCH,
        num_workers=torch.get_num_threads(),
    )
    with torch.inference_mode(), tempfile.TemporaryDirectory() as place:
        rows = [model.encode_image(batch, normalize=True).numpy() for batch in loader]
        np.save(Path(place) / "rows.npy", np.concatenate(rows))


def whole(folder: Path, count: int, encoder: Encoder) -> None:
    with tempfile.TemporaryDirectory() as place:
        report = index_into(Path(place) / "library", folder, encoder)
    assert report.embedded == count, report


def timed(step: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    step()
    return clock() - started


def main(folder: str, model: str = "mini", rounds: str = "3", count: str = "256") -> None:
    import torch

    with tempfile.TemporaryDirectory() as place:
        if model.startswith("random:"):
            model = random_model(model.removeprefix("random:"), Path(place) / "model")
        encoder = load_encoder(model, "cpu", print)
        prepare_references(encoder)
        plain, transform, tokenizer = plain_model(model)
        photos = Path(place) / "photos"
        photos.mkdir()
        for one in pictures(str(Path(folder).absolute()))[: int(count)]:
            shutil.copy(one.path, photos)
        paths = [str(one) for one in sorted(photos.iterdir())]
        some = paths[: 2 * _BATCH]
        pixels = [encoder.fit(Image.open(one).convert("RGB")) for one in some]
        batch: Any = torch.stack([transform(Image.open(one).convert("RGB")) for one in some])
        text = ["a photo of a dog that jumps into a lake"]
        tokens = tokenizer(text)

        def seen() -> Any:
            parts = batch.split(_BATCH)
            return np.concatenate([plain.encode_image(one, normalize=True) for one in parts])

        steps: dict[str, tuple[int, Callable[[], object], Callable[[], object]]] = {
            "images": (len(some), seen, lambda: encoder.embed_images(pixels)),
            "a text": (
                _TEXTS,
                lambda: [plain.encode_text(tokens, normalize=True) for _ in range(_TEXTS)],
                lambda: [encoder.embed_texts(text) for _ in range(_TEXTS)],
            ),
            "index": (
                len(paths),
                lambda: plain_run(paths, plain, transform),
                lambda: whole(photos, len(paths), encoder),
            ),
        }
        runtime = getattr(encoder, "runtime", "")
        print(f"{model}, {runtime}, {torch.get_num_threads()} cores, {len(paths)} files")
        with torch.inference_mode():
            cosines = (seen() * encoder.embed_images(pixels)).sum(axis=1)
            print(f"least cosine between both: {cosines.min():.7f}")
            encoder.embed_texts(text)  # loads the tower
            for name, (n, theirs, ours) in steps.items():
                both: tuple[list[float], list[float]] = ([], [])
                for _ in range(int(rounds)):
                    both[0].append(n / timed(theirs))
                    both[1].append(n / timed(ours))
                told(name, median(both[0]), median(both[1]), "in a second")
            torch.set_num_threads(1)
            for name in ("images", "a text"):
                n, theirs, ours = steps[name]
                spent = timed(theirs, time.process_time), timed(ours, time.process_time)
                told(name, n / spent[0], n / spent[1], "in a second of one core")


def told(name: str, plain: float, ours: float, unit: str) -> None:
    print(
        f"{name:8} plain {plain:8.1f}   searchx {ours:8.1f}   {ours / plain:5.2f} x   {unit}",
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
