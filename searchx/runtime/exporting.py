"""Prepare a model: run as a process of its own, so that torch's memory is given back with it.

    python -m searchx.runtime.exporting NAME

Tells what it does on stdout, a JSON document a line; see `searchx.runtime.preparing`.
"""

import errno
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from searchx import towers
from searchx.encoder.names import local_files
from searchx.encoder.plain import OpenClipEncoder, normalised
from searchx.encoder.weights import WEIGHTS_FILES, hub_repository
from searchx.errors import SearchxError
from searchx.records import Vectors
from searchx.runtime.compiled import CompiledEncoder
from searchx.runtime.entries import (
    IMAGES,
    TEXTS,
    TOKENIZER,
    Agreement,
    Entries,
    Entry,
    is_whole,
    stamps_of,
    write_manifest,
)
from searchx.runtime.openvino import convert_unseen, imported
from searchx.runtime.samples import TEXTS as SAMPLES
from searchx.runtime.samples import pictures
from searchx.runtime.wording import Cleaning, Wording

if TYPE_CHECKING:
    import torch

LEAST: Final = 0.9999  # cosine between what torch gives and what OpenVINO gives
_SPARE: Final = 200_000_000  # bytes of the disk that are left to others
_CLEANINGS: Final[dict[str, Cleaning]] = {
    "_clean_whitespace": "whitespace",
    "_clean_lower": "lower",
    "_clean_canonicalize": "canonicalize",
}


class NotPrepared(Exception):
    """A model that is left to torch; says why, in a few words."""


def main(name: str, directory: str) -> None:
    """Prepare a model and tell how it went."""
    warnings.simplefilter("ignore")  # of tracing, which is checked afterwards
    try:
        prepare(name, Entries(Path(directory)), lambda line: _tell("say", line))
    except SearchxError as error:
        _tell(type(error).__name__, str(error))


def prepare(name: str, entries: Entries, say: Callable[[str], None]) -> None:
    """Make the entry of a model and note what its name leads to, also where it cannot be made.

    Raises ModelError for a model that cannot be had at all.
    """
    stamps = stamps_of(files_of(name) or ())
    encoder = OpenClipEncoder(name, "cpu", say)
    stamps = stamps or stamps_of(files_of(name) or ())  # those of a hub are known by now
    place = entries.place(encoder.space.digest)
    try:
        if not is_whole(place):
            _make(encoder, entries, place)
    except NotPrepared as error:
        return entries.note(name, stamps, None, str(error))
    except OSError as error:
        return _tell("reason", f"the cache cannot be written ({error.strerror or error})")
    except Exception as error:  # torch and OpenVINO raise a dozen types for what they cannot trace
        line = next(iter(str(error).splitlines()), "") or type(error).__name__
        return entries.note(name, stamps, None, f"OpenVINO cannot take it over ({line[:200]})")
    return entries.note(name, stamps, place)


def _make(encoder: OpenClipEncoder, entries: Entries, place: Path) -> None:
    import torch

    model, tokenizer = encoder.parts()
    wording, written = wording_of(model, tokenizer, encoder.text_limit)
    _check_room(entries.directory, model)
    with entries.adding(place) as beside:
        (beside / TOKENIZER).write_text(written, encoding="utf-8")
        seen = torch.from_numpy(np.stack(pictures(encoder.fit)[:2]))  # (2, height, width, 3)
        _export(_images(model), seen, list(seen.shape[1:]), beside / IMAGES)
        read = encoder.tokens(["a photo of a dog", "two"])  # (2, used): one row is filled up
        width = -1 if wording.is_trimmed else wording.limit
        _export(_texts(model), read, [width], beside / TEXTS)
        entry = Entry(
            digest=encoder.space.digest,
            dim=encoder.space.dim,
            fit=encoder.fit,
            wording=wording,
            image_weights=towers.size_of_images(model),
            text_weights=towers.size_of_texts(model),
            pairing=encoder.pairing,
        )
        write_manifest(entry, beside)
        agreement = _compare(encoder, CompiledEncoder(encoder.space.name, beside))
        write_manifest(replace(entry, agreement=agreement), beside)


def _compare(torchs: OpenClipEncoder, ours: CompiledEncoder) -> Agreement:
    """Measure how near both are; raises NotPrepared where the vectors are not those of torch."""
    for text in SAMPLES:
        if not np.array_equal(torchs.tokens([text]).numpy(), ours.tokens([text])):
            raise NotPrepared(f"its tokenizer gives other tokens for {text[:40]!r}")
    short = [one for one in SAMPLES if max(map(len, one.split())) < 200]  # see Tokens.count
    if torchs.count_tokens(short) != ours.count_tokens(short):
        raise NotPrepared("its tokenizer counts otherwise")
    seen = pictures(torchs.fit)
    images = _least(torchs.embed_images, ours.embed_images, seen)
    texts = _least(torchs.embed_texts, ours.embed_texts, SAMPLES)
    if min(images, texts) < LEAST:
        raise NotPrepared(f"its vectors would be other ones (cosine {min(images, texts):.5f})")
    return Agreement(images, texts)


def _least(
    torchs: Callable[[Any], Vectors], ours: Callable[[Any], Vectors], samples: Sequence[Any]
) -> float:
    """Give the least cosine between both, of samples that are embedded together and alone."""
    together = torchs(samples)  # (n, dim)
    alone = np.concatenate([ours([one]) for one in samples])
    both = np.concatenate([together * ours(samples), together * alone])
    return float(both.sum(axis=1).min())


def wording_of(model: Any, tokenizer: Any, limit: int) -> tuple[Wording, str]:
    """Give how texts become tokens, and the tokenizer.json; raises NotPrepared."""
    cleaning = _CLEANINGS.get(getattr(tokenizer, "clean_fn", _clean_canonicalize).__name__)
    if cleaning is None or getattr(tokenizer, "reduction_fn", None):
        raise NotPrepared("its tokenizer treats texts in a way of its own")
    if not hasattr(tokenizer, "tokenizer"):
        specials = {tokenizer.decoder[one]: one for one in tokenizer.all_special_ids}
        return Wording(cleaning, limit, 0, True, False, specials=specials), _clip_json(tokenizer)
    inner = tokenizer.tokenizer
    if getattr(tokenizer, "tokenizer_mode", "") or not getattr(inner, "is_fast", False):
        raise NotPrepared("its tokenizer is not one of those that run without its own code")
    config = getattr(getattr(model, "text", None), "config", None)
    wording = Wording(
        cleaning=cleaning,
        limit=limit,
        padding=inner.pad_token_id,
        is_clip=False,
        is_trimmed=getattr(config, "pad_token_id", None) == inner.pad_token_id,
        blanked=inner.sep_token_id if getattr(tokenizer, "strip_sep_token", False) else None,
    )
    return wording, inner.backend_tokenizer.to_str()


def _clean_canonicalize(_: str) -> str:
    """Stand for what SigLIP's tokenizer does, which has no `clean_fn`."""
    raise NotImplementedError


def _clip_json(tokenizer: Any) -> str:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    model = BPE(vocab=tokenizer.encoder, merges=merges, end_of_word_suffix="</w>")
    return str(Tokenizer(model).to_str())


def _images(model: Any) -> "torch.nn.Module":
    import torch

    class Images(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return _unit(self.model.encode_image(normalised(self.model, pixels)))

    return Images().eval()


def _texts(model: Any) -> "torch.nn.Module":
    import torch

    class Texts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return _unit(self.model.encode_text(tokens))

    return Texts().eval()


def _unit(rows: "torch.Tensor") -> "torch.Tensor":
    length: torch.Tensor = rows.norm(dim=1, keepdim=True)
    return rows / length.clamp_min(1e-12)


def _export(tower: "torch.nn.Module", example: "torch.Tensor", shape: list[int], to: Path) -> None:
    """Write a tower for any number of rows; of `shape`, what is -1 is any as well."""
    import torch

    openvino = imported()
    with torch.no_grad():
        made = convert_unseen(tower, example_input=example)
    made.reshape({0: openvino.PartialShape([-1, *shape])})
    openvino.save_model(made, str(to), compress_to_fp16=False)


def _check_room(directory: Path, model: Any) -> None:
    """Make sure of disk and memory; raises OSError, for another day they may do."""
    import psutil

    size = 4 * sum(one.numel() for one in model.parameters())
    if shutil.disk_usage(directory).free < 1.5 * size + _SPARE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if psutil.virtual_memory().available < 3 * size:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def files_of(name: str) -> list[str] | None:
    """List the files that a model is loaded from; None where only a hub's cache knows them."""
    from huggingface_hub import try_to_load_from_cache

    if (own := local_files(name)) is not None:
        return own
    if not (repository := hub_repository(name)):
        return None
    wanted = ("open_clip_config.json", *WEIGHTS_FILES)
    found = [try_to_load_from_cache(repository, one) for one in wanted]
    return sorted(one for one in found if isinstance(one, str))


def _tell(kind: str, line: str) -> None:
    sys.stdout.write(json.dumps({kind: line}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
