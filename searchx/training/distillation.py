"""A teacher: the image tower of a larger dual encoder, whose space a small model learns.

The teacher is an ONNX file with an input ``pixel_values`` (n, 3, 224, 224) in CLIP's
normalisation and an output ``image_embeds`` (n, dim), as CLIP towers are usually exported.
Every picture is embedded once; the vectors are kept beside the checkpoint (Hinton et al., 2015;
Wu et al., TinyCLIP, 2023).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from searchx.errors import BadInput
from searchx.fitting import Fitting
from searchx.pairs import Pair
from searchx.pictures.images import open_image
from searchx.records import Pixels, Vectors

# The whole picture, squashed to a square: captions tell of its borders too.
_FIT = Fitting((224, 224), "squash")
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)  # CLIP's
_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
_BATCH = 16
_SAVE_EVERY = 64  # batches


def teacher_vectors(
    teacher: Path, pairs: Sequence[Pair], dim: int, kept: Path, progress: Callable[[int], None]
) -> Vectors:
    """Embed all pictures with the teacher: (n, dim) unit rows, in the order of the pairs.

    What the file `kept` holds from an earlier, interrupted run of the same training is not
    computed again. Raises BadInput for a teacher that does not give vectors of width `dim`.
    """
    done = np.load(kept) if kept.exists() else np.empty((0, 0), np.float32)
    rows: list[Vectors] = [done] if len(done) else []
    progress(len(done))
    if len(done) < len(pairs):
        session = _session(teacher)
        with ThreadPoolExecutor(2) as workers:
            for number, start in enumerate(range(len(done), len(pairs), _BATCH), 1):
                batch = list(workers.map(_fitted, pairs[start : start + _BATCH]))
                rows.append(session.run(["image_embeds"], {"pixel_values": _normalised(batch)})[0])
                if rows[-1].shape[1:] != (dim,):
                    raise BadInput(f"{teacher} gives {rows[-1].shape[1]} dimensions, not {dim}")
                progress(len(batch))
                if number % _SAVE_EVERY == 0:
                    _keep(kept, np.concatenate(rows))
        _keep(kept, np.concatenate(rows))
    vectors = np.concatenate(rows)
    return cast(Vectors, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _session(teacher: Path) -> Any:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(
            teacher, providers=onnxruntime.get_available_providers()
        )
    except Exception as error:  # ONNX Runtime raises types of its own without a common root
        raise BadInput(f"{teacher} is not a teacher in ONNX form ({error})") from error
    inputs = [one.name for one in session.get_inputs()]
    if inputs != ["pixel_values"] or "image_embeds" not in [o.name for o in session.get_outputs()]:
        raise BadInput(f"{teacher} is no teacher: it needs pixel_values in and image_embeds out")
    return session


def _fitted(pair: Pair) -> Pixels:
    return _FIT(open_image(pair.image, at_least=_FIT.side))


def _normalised(batch: Sequence[Pixels]) -> NDArray[np.float32]:
    rows = (np.stack(batch).astype(np.float32) / 255 - _MEAN) / _STD
    return np.ascontiguousarray(rows.transpose(0, 3, 1, 2))  # (n, 3, 224, 224)


def _keep(place: Path, vectors: Vectors) -> None:
    from searchx.modeldir import replacing  # brings torch along, which nothing else here needs

    with replacing(place) as beside, beside.open("wb") as file:
        np.save(file, vectors)
