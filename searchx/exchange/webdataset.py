"""Tars of samples, as webdataset and img2dataset have them: `KEY.jpg`, `KEY.txt`, `KEY.json`.

A vector beside them is `KEY.npy`, which webdataset decodes by itself.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from searchx.archives import Member, members
from searchx.contents import open_content, open_regular
from searchx.errors import BadInput
from searchx.exchange.columns import OURS, TEXT_COLUMNS
from searchx.exchange.npy import array_in, explained
from searchx.exchange.offers import BLOCK_BYTES, Offer, Wanted, as_ids, batch_of, check_dim
from searchx.exchange.outgoing import Outgoing, Written
from searchx.exchange.swapping import new_files, new_folder
from searchx.exchange.telling import told_of
from searchx.pictures.images import SUFFIXES
from searchx.records import Item, Skipped, Vectors

if TYPE_CHECKING:
    import pyarrow

_SHARD: Final = 10_000  # samples, as img2dataset writes by default
_ROWS: Final = 1024  # samples that are in memory at a time
_LIMITS: Final = {  # bytes of the files that are read
    **dict.fromkeys((".txt", ".text", ".caption"), 1 << 20),
    ".json": 1 << 23,
    ".npy": 1 << 19,
}
_NOT_TOLD: Final = ("id", "vector", "image", "key", *OURS)
_SUFFIX_OF: Final = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "TIFF": ".tif"}


@dataclass(slots=True)
class _Sample:
    """The files of one name."""

    key: str
    file: Path
    told: dict[str, Any] = field(default_factory=dict)
    vector: Vectors | None = None
    image: Member | None = None


def read(path: Path, wanted: Wanted) -> Offer:
    """Offer the samples of a tar, or of all in a folder: their vectors, else their pictures."""
    files = shards(path)
    first = next(_samples(files[0]), None)
    if first is None:
        raise BadInput(f"{files[0]} holds no sample: a picture, a text or a vector with a key")
    if first.vector is not None:
        dim = check_dim(len(first.vector), files[0])
        return Offer("webdataset", dim, _vectors(files, wanted, dim))
    if first.image is None or wanted.kind == "text":
        raise BadInput(f"{files[0]} holds no vectors to take; to embed its texts: searchx index")
    note = 'pictures are embedded and not kept; "searchx index" keeps where each one is'
    return Offer("webdataset", None, _pictures(files, wanted), notes=(note,))


def shards(path: Path) -> list[Path]:
    """Give the tars at a place, by their names."""
    files = sorted(path.glob("*.tar")) if path.is_dir() else [path]
    if not files:
        raise BadInput(f"{path} holds no .tar file")
    return files


def write(outgoing: Outgoing, to: Path) -> Written:
    """Write one tar, or a folder of tars of 10,000 samples where the name does not end in .tar.

    Pictures go as they are, byte for byte; one that cannot be read is left out, with the reason.
    """
    skipped: list[Skipped] = []
    packed = _packed(outgoing, skipped)
    if to.suffix == ".tar":
        with new_files(to) as (part,):
            return Written("webdataset", _write_tar(part, packed), (to,), tuple(skipped))
    files: list[Path] = []
    items = 0
    with new_folder(to) as made:
        for first in packed:
            name = f"{len(files):05d}.tar"
            items += _write_tar(made / name, chain([first], islice(packed, _SHARD - 1)))
            files.append(to / name)
    return Written("webdataset", items, tuple(files), tuple(skipped))


# reading


def _vectors(files: Sequence[Path], wanted: Wanted, dim: int) -> Iterator["pyarrow.RecordBatch"]:
    for block in _blocks(files, lambda one: 4 * dim):
        rows = np.empty((len(block), dim), np.float32)
        for place, one in enumerate(block):
            if one.vector is None or one.vector.shape != (dim,):
                shape = None if one.vector is None else one.vector.shape
                raise BadInput(f"sample {one.key} has a vector of shape {shape}, others ({dim},)")
            rows[place] = one.vector
        yield batch_of(_ids(block, wanted), rows, _told(block))


def _pictures(files: Sequence[Path], wanted: Wanted) -> Iterator["pyarrow.RecordBatch"]:
    import pyarrow

    for block in _blocks(files, lambda one: one.image.size if one.image else 0):
        shown = [one for one in block if one.image is not None]
        data: list[bytes] = []
        for file, of in groupby(shown, lambda one: one.file):
            with explained(file), open_regular(str(file)) as opened:
                data += [_content(opened, one.image) for one in of if one.image]
        columns = {"id": as_ids(_ids(shown, wanted)), "image": pyarrow.array(data, "binary")}
        yield pyarrow.RecordBatch.from_pydict(columns | _told(shown))


def _blocks(files: Sequence[Path], size_of: Callable[[_Sample], int]) -> Iterator[list[_Sample]]:
    """Give samples together that are few enough, and small enough, to be in memory."""
    block: list[_Sample] = []
    size = 0
    for file in files:
        for one in _samples(file):
            if block and (size + size_of(one) > BLOCK_BYTES or len(block) == _ROWS):
                yield block
                block, size = [], 0
            block.append(one)
            size += size_of(one)
    if block:
        yield block


def _samples(file: Path) -> Iterator[_Sample]:
    """Give the samples of a tar; of pictures only where they are."""
    try:
        with explained(file), open_regular(str(file)) as opened:
            for key, of in groupby(members(opened, lambda _: None), lambda one: one.key):
                sample = _Sample(key, file)
                for member in of:
                    _take(sample, opened, member)
                if sample.image or sample.vector is not None or sample.told:
                    yield sample
    except tarfile.TarError as error:
        raise BadInput(f"{file} cannot be read ({error}); it is no tar") from error


def _take(sample: _Sample, file: BinaryIO, member: Member) -> None:
    if member.suffix in SUFFIXES:
        sample.image = sample.image or member
        return
    if member.suffix not in _LIMITS:
        return
    if member.size > _LIMITS[member.suffix]:
        raise BadInput(f"{member.key}{member.suffix} in {sample.file} has {member.size:,} bytes")
    at = file.tell()  # where the reader of headers goes on
    content = _content(file, member)
    file.seek(at)
    name = f"{member.key}{member.suffix} in {sample.file}"
    if member.suffix == ".npy":
        sample.vector = _vector(content, name)
    elif member.suffix == ".json":
        sample.told = _plain(content, name) | sample.told
    elif text := content.decode("utf-8", "replace").strip():
        sample.told["text"] = text


def _content(file: BinaryIO, member: Member) -> bytes:
    file.seek(member.offset)
    return file.read(member.size)


def _vector(content: bytes, name: str) -> Vectors:
    found = array_in(content, name)
    if found.dtype.kind not in "fiu" or found.size != max(found.shape):
        raise BadInput(f"{name} is {found.dtype} of shape {found.shape}; give one vector")
    return found.reshape(-1).astype(np.float32)


def _plain(content: bytes, name: str) -> dict[str, Any]:
    """Give what a .json tells that an item can have."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{name} is no JSON") from error
    if not isinstance(told, dict):
        return {}
    found = {str(name): value for name, value in told.items() if _can_be_told(value)}
    texts = [one for one in (found.pop(name, None) for name in TEXT_COLUMNS) if one]
    return found | ({"text": str(texts[0])} if texts else {})


def _can_be_told(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, str) for one in value)
    return isinstance(value, str | int | float)


def _ids(block: Sequence[_Sample], wanted: Wanted) -> list[str]:
    name = wanted.id or "id"
    if wanted.id and any(name not in one.told for one in block):
        raise BadInput(f'a sample has no "{name}" to take its id from')
    return [str(one.told.get(name, one.key)) for one in block]


def _told(block: Sequence[_Sample]) -> dict[str, "pyarrow.Array"]:
    """Give what is told of samples as columns; a value of another type than others is a text."""
    import pyarrow

    told = {name: None for one in block for name in one.told}
    names = [name for name in told if name.strip() and name not in _NOT_TOLD]
    columns = {}
    for name in names:
        values = [one.told.get(name) for one in block]
        try:
            columns[name] = pyarrow.array(values)
        except (pyarrow.ArrowException, OverflowError):
            columns[name] = pyarrow.array([None if one is None else str(one) for one in values])
    return columns


# writing


def _packed(outgoing: Outgoing, skipped: list[Skipped]) -> Iterator[dict[str, bytes]]:
    """Give the files of each sample, by name; adds what is left out to `skipped`."""
    number = 0
    for rows in outgoing.rows():
        for item, vector in zip(rows.items, rows.vectors, strict=True):
            try:
                picture = _picture(item) if item.kind == "image" else {}
            except BadInput as error:
                skipped.append(Skipped(item.path, str(error)))
                continue
            yield {f"{number:09d}{name}": data for name, data in _files(item, vector, picture)}
            number += 1


def _files(
    item: Item, vector: Vectors, picture: Mapping[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    told = told_of(item)
    yield from picture.items()
    if text := told.pop("text", None):
        yield ".txt", text.encode()
        told["caption"] = text
    yield ".json", json.dumps(told, default=str, ensure_ascii=False).encode()
    array = io.BytesIO()
    np.save(array, vector, allow_pickle=False)
    yield ".npy", array.getvalue()


def _picture(item: Item) -> dict[str, bytes]:
    places = [one for one in item.locations if one.external is None]
    if not places:
        raise BadInput("it was added without a file; its picture is not kept")
    place = places[0]
    format = (item.metadata and item.metadata.format) or ""
    suffix = _SUFFIX_OF.get(format) or PurePath(place.path).suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInput(f"a picture in the format {format or suffix or 'unknown'}")
    return {suffix: open_content(place)}


def _write_tar(file: Path, samples: Iterable[Mapping[str, bytes]]) -> int:
    count = 0
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as archive:
        for sample in samples:
            for name, data in sample.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            count += 1
    return count
