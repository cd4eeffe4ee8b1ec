"""The formats, and how a path tells which one it is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from searchx.errors import BadInput
from searchx.exchange import clip_retrieval, hdf5, index_file, npy, parquet, webdataset
from searchx.exchange.offers import Offer, Wanted
from searchx.exchange.outgoing import Outgoing, Written


@dataclass(frozen=True, slots=True)
class Format:
    """A form in which vectors travel."""

    name: str
    suffixes: tuple[str, ...]  # of files; none: a folder
    read: Callable[[Path, Wanted], Offer]
    write: Callable[[Outgoing, Path], Written]


FORMATS: Final = (
    Format("parquet", (".parquet", ".pq"), parquet.read, parquet.write),
    Format("npy", (".npy",), npy.read, npy.write),
    Format("clip-retrieval", (), clip_retrieval.read, clip_retrieval.write),
    Format("webdataset", (".tar",), webdataset.read, webdataset.write),
    Format("hdf5", (".hdf5", ".h5"), hdf5.read, hdf5.write),
    Format("faiss", (".index", ".faiss"), index_file.read, index_file.write),
)


def format_of(path: Path, name: str | None = None) -> Format:
    """Give the format of that name, else the one that a path tells. Raises BadInput."""
    known = {one.name: one for one in FORMATS}
    if name is not None:
        if name not in known:
            raise BadInput(f'format "{name}" is not known; use {", ".join(known)}')
        return known[name]
    suffix = path.suffix.lower()
    found = next((one for one in FORMATS if suffix in one.suffixes), None)
    if found is None and path.is_dir():
        found = _of_folder(path)
    if found is None:
        suffixes = ", ".join(one for each in FORMATS for one in each.suffixes)
        raise BadInput(
            f"{path} does not tell its format; name it with --format, or end in {suffixes}"
        )
    return found


def _of_folder(path: Path) -> Format | None:
    known = {one.name: one for one in FORMATS}
    if clip_retrieval.is_folder(path):
        return known["clip-retrieval"]
    for suffix, name in ((".tar", "webdataset"), (".parquet", "parquet")):
        if next(path.glob(f"*{suffix}"), None) is not None:
            return known[name]
    return None
