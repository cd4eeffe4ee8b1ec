"""Read image-caption pairs, for training and for evaluation.

Takes ``captions.jsonl``, a folder that holds one, webdataset ``.tar`` shards, and ``.parquet``
files in the shape of Hugging Face `datasets`.
"""

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from searchx.errors import BadInput

CAPTIONS = "captions.jsonl"
_BROKEN = (ValueError, KeyError, TypeError, RecursionError)  # what odd JSON leads to
_IMAGES = (".webp", ".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture, as a file or as the bytes of one, with the texts that describe it."""

    image: Path | bytes
    captions: tuple[str, ...]  # one or more


def read_pairs(places: Sequence[Path | str]) -> list[Pair]:
    """Read all pairs of all places, in order. Raises BadInput, in one line."""
    return [pair for place in places for pair in _read_place(Path(place))]


def _read_place(place: Path) -> list[Pair]:
    path = place / CAPTIONS if place.is_dir() else place
    readers = {".jsonl": _jsonl, ".tar": _tar, ".parquet": _parquet}
    if path.suffix not in readers:
        raise BadInput(
            f"{place} holds no pairs; give {CAPTIONS}, a folder with one, .tar or .parquet"
        )
    if not path.is_file():
        raise BadInput(f"{path} is missing; pairs are read from there")
    try:
        pairs = list(readers[path.suffix](path))
    except (*_BROKEN, OSError, EOFError, tarfile.TarError) as error:
        raise BadInput(f"{path} cannot be read as pairs ({_one_line(error)})") from error
    if not pairs:
        raise BadInput(f"{path} holds no pairs")
    return pairs


def _one_line(error: Exception) -> str:
    said = " ".join(str(error).split())
    return said if type(error) is ValueError else f"{type(error).__name__}: {said}"


def _jsonl(path: Path) -> Iterator[Pair]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    row = json.loads(line)
                    yield from _pair(path.parent / row["image"], row["captions"])
                except _BROKEN as error:
                    raise ValueError(f"line {number}: {type(error).__name__}: {error}") from error


def _tar(path: Path) -> Iterator[Pair]:
    """Read a shard: ``KEY.jpg`` and ``KEY.json`` stand next to each other (webdataset)."""
    with tarfile.open(path) as archive:
        key, parts = "", dict[str, bytes]()
        for member in archive:
            stem, dot, suffix = member.name.rpartition(".")
            content = archive.extractfile(member)
            if content is None or not dot:
                continue
            if stem != key:
                yield from _sample(parts)
                key, parts = stem, {}
            parts[f".{suffix.lower()}"] = content.read()
        yield from _sample(parts)


def _sample(parts: Mapping[str, bytes]) -> Iterator[Pair]:
    image = next((parts[suffix] for suffix in _IMAGES if suffix in parts), None)
    if image is None:
        return
    if ".json" in parts:
        yield from _pair(image, json.loads(parts[".json"])["captions"])
    elif ".txt" in parts:
        yield from _pair(image, [parts[".txt"].decode("utf-8")])


def _parquet(path: Path) -> Iterator[Pair]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(256, columns=["image", "captions"]):
            for row in batch.to_pylist():
                image = row["image"]
                content = image["bytes"] or path.parent / image["path"]
                yield from _pair(content, row["captions"])


def _pair(image: Path | bytes, captions: object) -> Iterator[Pair]:
    texts = [captions] if isinstance(captions, str) else captions
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError("captions must be a list of texts")
    if any(text.strip() for text in texts):
        yield Pair(image, tuple(text for text in texts if text.strip()))
