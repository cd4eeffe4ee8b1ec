"""HDF5 as ann-benchmarks has it: `train`, `test`, and of each test row `neighbors`, `distances`.

https://github.com/erikbern/ann-benchmarks. Beside them stand `ids` and `test_ids`, ours.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from searchx.errors import BadInput
from searchx.exchange.npy import as_array
from searchx.exchange.offers import NO_IDS, Offer, Wanted, batch_of, check_dim, numbered, rows_in
from searchx.exchange.outgoing import Outgoing, Written, as_text, space_from
from searchx.exchange.swapping import new_files
from searchx.records import Ids, Vectors

if TYPE_CHECKING:
    import pyarrow

_TESTS: Final = 1_000  # queries
_SHARE: Final = 10  # at most one of so many items is a query
_NEIGHBOURS: Final = 100
_CHUNK: Final = 1 << 28  # bytes that are unpacked at once
_PACKED: Final = 1_000  # times what there is on the disk may come out of it
_ANGLES: Final = ("angular", "cosine", "dot", "ip")


def read(path: Path, wanted: Wanted) -> Offer:
    """Offer the rows of `train`, and those of `test` where the file gives them ids."""
    with opened(path) as file:
        train = dataset(file, "train", path)
        dim = check_dim(train.shape[1], path)
        parts = [("train", "ids", train.shape[0])]
        if "test_ids" in file:
            parts.append(("test", "test_ids", dataset(file, "test", path).shape[0]))
        has_ids = "ids" in file
        if has_ids:
            for vectors, ids, count in parts:
                _check_ids(file, vectors, ids, count, dim, path)
        distance = str(file.attrs.get("distance", "angular"))
        space = space_from(file.attrs.get("searchx.space"), dim)
    notes: tuple[str, ...] = () if has_ids else (NO_IDS,)
    if distance not in _ANGLES:
        notes += (f'it was made for the distance "{distance}"; searchx goes by the angle',)
    parts = parts if has_ids else parts[:1]
    count = sum(count for _, _, count in parts)
    batches = _batches(path, [one[:2] for one in parts], has_ids, rows_in(dim))
    return Offer("hdf5", dim, batches, count, space, notes)


def write(outgoing: Outgoing, to: Path) -> Written:
    """Write vectors, a sample of them held out as queries, and the exact neighbours of these.

    Raises BadInput where there are too few items to hold some out.
    """
    tests = _tests(outgoing)
    with new_files(to) as (part,), _created(part) as file:
        asked = outgoing.rows_of(tests, outgoing.library.vectors(tests))
        nearest = _Nearest(asked.vectors)
        ids: list[str] = []
        dim = outgoing.space.dim
        chunks = (max(1, min(1024, rows_in(dim))), dim)
        train = file.create_dataset("train", (0, dim), "f4", maxshape=(None, dim), chunks=chunks)
        for block in outgoing.blocks():
            is_kept = ~np.isin(block.ids, tests)
            rows = outgoing.rows_of(block.ids[is_kept], block.vectors[is_kept])
            ids += rows.names
            start = train.shape[0]
            train.resize(start + len(rows.items), axis=0)
            train[start:] = rows.vectors
            nearest.see(rows.vectors, start)
        file["test"] = asked.vectors
        file["neighbors"] = nearest.places.astype(np.int32)
        file["distances"] = (1 - nearest.scores).astype(np.float32)
        for name, listed in (("ids", ids), ("test_ids", asked.names)):
            _write_ids(file, name, listed)
        about = {"type": "dense", "distance": "angular", "dimension": dim, "point_type": "float"}
        file.attrs.update(about | {"searchx.space": as_text(outgoing.space).decode()})
    queries = len(asked.items)
    note = f"{queries} of the items are the queries; import takes them for items again"
    return Written("hdf5", len(ids) + queries, (to,), notes=(note,))


class _Nearest:
    """The exact neighbours of queries, among rows that are seen block by block."""

    def __init__(self, queries: Vectors) -> None:
        self._queries = queries
        self.places = np.empty((len(queries), 0), np.int64)  # (q, k), nearest first
        self.scores = np.empty((len(queries), 0), np.float32)

    def see(self, rows: Vectors, start: int) -> None:
        scores = np.concatenate([self.scores, self._queries @ rows.T], axis=1)
        here = np.broadcast_to(np.arange(start, start + len(rows)), (len(self._queries), len(rows)))
        places = np.concatenate([self.places, here], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :_NEIGHBOURS]
        self.scores = np.take_along_axis(scores, order, 1)
        self.places = np.take_along_axis(places, order, 1)


def _tests(outgoing: Outgoing) -> Ids:
    """Choose the queries, the same ones for the same items."""
    every = [block.ids for block in outgoing.blocks()]
    ids = np.concatenate(every) if every else np.empty(0, np.int64)
    count = min(_TESTS, len(ids) // _SHARE)
    if not count:
        raise BadInput(
            f"{len(ids)} items are too few to hold one in {_SHARE} out as queries; "
            "choose another format"
        )
    return np.sort(np.random.default_rng(0).choice(ids, count, replace=False))


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file to read it; what is wrong with it is told in one line. Raises BadInput."""
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        said = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise BadInput(f"{path} cannot be read ({said})") from error


def dataset(file: Any, name: str, path: Path) -> Any:
    """Give an array (n, dim) that lies in the file itself. Raises BadInput.

    A link may lead to any other file, and so may an array that is stored elsewhere.
    """
    found = _stored(file, name, path)
    if found.ndim != 2 or found.dtype.kind not in "fiu":
        raise BadInput(f"{path}: {name} is {found.dtype} of shape {found.shape}; give (n, dim)")
    return found


def _stored(file: Any, name: str, path: Path) -> Any:
    h5py = _h5py()
    if name not in file:
        shown = ", ".join(list(file)[:20]) or "nothing"
        raise BadInput(f'{path} has no "{name}", as files of ann-benchmarks have; it has {shown}')
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise BadInput(f'{path}: "{name}" is a link to another place, which is not followed')
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise BadInput(f'{path}: "{name}" is no array that lies in the file')
    if found.chunks and found.dtype.itemsize * np.prod(found.chunks, dtype=object) > _CHUNK:
        raise BadInput(f'{path}: "{name}" lies in pieces of more than {_CHUNK >> 20} MiB')
    packed = found.id.get_storage_size()
    if found.nbytes > packed * (_PACKED if found.chunks else 1):
        raise BadInput(f'{path}: "{name}" has {packed:,} bytes and should have {found.nbytes:,}')
    return found


def _check_ids(file: Any, vectors: str, ids: str, count: int, dim: int, path: Path) -> None:
    if dataset(file, vectors, path).shape[1] != dim:
        raise BadInput(f"{path}: {vectors} has another width than train, which has {dim}")
    found = _stored(file, ids, path)
    if found.shape != (count,):
        raise BadInput(f"{path}: {ids} has the shape {found.shape}, there are {count:,} rows")


def _batches(
    path: Path, parts: list[tuple[str, str]], has_ids: bool, size: int
) -> Iterator["pyarrow.RecordBatch"]:
    with opened(path) as file:
        for vectors, ids in parts:
            rows = dataset(file, vectors, path)
            names = _ids_of(_stored(file, ids, path)) if has_ids else None
            for start in range(0, rows.shape[0], size):
                stop = min(start + size, rows.shape[0])
                here = numbered(start, stop) if names is None else names[start:stop]
                yield batch_of(list(here) if names is not None else here, rows[start:stop])


def _ids_of(found: Any) -> Any:
    return found.asstr() if found.dtype.kind in "SO" else found


def _write_ids(file: Any, name: str, ids: list[str]) -> None:
    listed = as_array(ids)
    if listed.dtype.kind == "i":
        file[name] = listed
    else:
        file.create_dataset(name, data=ids, dtype=_h5py().string_dtype())


@contextmanager
def _created(path: Path) -> Iterator[Any]:
    with _h5py().File(path, "w") as file:
        yield file


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise BadInput('HDF5 needs h5py: pip install "searchx[exchange]"') from error
    return h5py
