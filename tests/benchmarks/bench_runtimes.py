"""What computes a model fastest on this processor: torch, torch.compile, ONNX Runtime or OpenVINO.

    python -m tests.benchmarks.bench_runtimes [MODEL ...]

MODEL is any name that searchx takes, or ``random:ARCHITECTURE``; by default mini, a ViT, and a
hybrid of convolutions and attention. The same weights everywhere, on all cores: pictures in batches
of 16, the median of some rounds that take turns, and one short text at a time. OpenVINO is used as
searchx uses it. "ready" is how long it takes once until the first picture is embedded, the export
included.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from searchx.encoder import load_encoder
from searchx.fitting import Fitting
from tests.benchmarks import onnx_towers
from tests.benchmarks.bench_encoder import plain_model
from tests.benchmarks.random_models import random_model

_MODELS: Final = ("mini", "random:ViT-B-32", "random:MobileCLIP-S1")
_BATCH: Final = 16
_ROUNDS: Final = 5
_TEXT: Final = "a photo of a dog that jumps into a lake"
_Way = tuple[Callable[[], Any], Callable[[], Any]]  # embeds the pictures; embeds the text


def torch_way(model: Any, pictures: Any, tokens: Any) -> _Way:
    return (
        lambda: model.encode_image(pictures, normalize=True).numpy(),
        lambda: model.encode_text(tokens, normalize=True).numpy(),
    )


def compiled_way(model: Any, pictures: Any, tokens: Any) -> _Way:
    import torch

    seen = torch.compile(lambda rows: model.encode_image(rows, normalize=True))
    read = torch.compile(lambda rows: model.encode_text(rows, normalize=True))
    return lambda: seen(pictures).numpy(), lambda: read(tokens).numpy()


def onnx_way(model: Any, pictures: Any, tokens: Any, place: Path) -> _Way:
    import onnxruntime

    settings: Any = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = len(os.sched_getaffinity(0))
    settings.log_severity_level = 3

    def way(encode: str, rows: Any) -> Callable[[], Any]:
        file = place / f"{encode}.onnx"
        onnx_towers.write(model, encode, rows, file)
        session: Any = onnxruntime.InferenceSession(
            file, settings, providers=["CPUExecutionProvider"]
        )
        given = {"input": rows.numpy()}
        return lambda: unit(session.run(None, given)[0])

    seen = way("encode_image", pictures)
    return seen, way("encode_text", tokens)


def openvino_way(name: str, pixels: list[Any]) -> _Way:
    encoder = load_encoder(name, "cpu")
    assert getattr(encoder, "runtime", "") == "OpenVINO"
    return lambda: encoder.embed_images(pixels), lambda: encoder.embed_texts([_TEXT])


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def compare(name: str, directory: Path) -> None:
    import torch

    directory.mkdir()
    model = name
    if name.startswith("random:"):
        model = random_model(name.removeprefix("random:"), directory / "model")
    plain, _, tokenizer = plain_model(model)
    config = plain.visual.preprocess_cfg
    height, width = Fitting.of(config).size
    random = np.random.default_rng(0)
    pixels = list(random.integers(0, 256, (_BATCH, height, width, 3), np.uint8))
    rows = (np.stack(pixels) / 255 - config["mean"]) / config["std"]  # (n, height, width, 3)
    pictures = torch.from_numpy(rows.transpose(0, 3, 1, 2).astype(np.float32)).contiguous()
    tokens = tokenizer([_TEXT])
    makers: Mapping[str, Callable[[], _Way]] = {
        "torch": lambda: torch_way(plain, pictures, tokens),
        "torch.compile": lambda: compiled_way(plain, pictures, tokens),
        "ONNX Runtime": lambda: onnx_way(plain, pictures, tokens, directory),
        "OpenVINO": lambda: openvino_way(model, pixels),
    }
    ways: dict[str, _Way] = {}
    ready: dict[str, float] = {}
    with torch.inference_mode():
        for title, make in makers.items():
            began = time.perf_counter()
            try:
                ways[title] = make()
                ways[title][0]()
            except Exception as error:  # a compiler that is missing, an operator that is unknown
                ways.pop(title, None)
                print(f"{title}: {str(error).splitlines()[0][:100]}", flush=True)
            ready[title] = time.perf_counter() - began
        table(name, ways, ready)


def table(name: str, ways: Mapping[str, _Way], ready: Mapping[str, float]) -> None:
    expected = ways["torch"][0]()
    spent: dict[str, tuple[list[float], list[float]]] = {title: ([], []) for title in ways}
    for _ in range(_ROUNDS):
        for title, (seen, read) in ways.items():
            read()
            for kept, step in zip(spent[title], (seen, read), strict=True):
                began = time.perf_counter()
                step()
                kept.append(time.perf_counter() - began)
    print(f"\n| {name} | images/s | x torch | one text, ms | ready, s | least cosine |")
    print("|---|---|---|---|---|---|")
    slowest = median(spent["torch"][0])
    for title, (images, texts) in spent.items():
        one = median(images)
        cosine = float((ways[title][0]() * expected).sum(axis=1).min())
        print(
            f"| {title} | {_BATCH / one:.1f} | {slowest / one:.2f} | {1e3 * median(texts):.1f} "
            f"| {ready[title]:.1f} | {cosine:.7f} |",
            flush=True,
        )


def main(*models: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ["SEARCHX_CACHE"] = str(Path(directory) / "cache")  # to see it prepared
        for number, name in enumerate(models or _MODELS):
            compare(name, Path(directory) / str(number))


if __name__ == "__main__":
    main(*sys.argv[1:])
