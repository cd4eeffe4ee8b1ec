"""A process of its own, run with ``-m``, that takes the vectors out of an index file.

FAISS may end its process over a file that is damaged, or of a kind that cannot give vectors back.
On stdout come a line of JSON, the ids as int64, and the rows as float32; or a line with `error`.
"""

import json
import os
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

import numpy as np

from searchx.records import Ids

_ROWS: Final = 4096  # in memory at a time


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    owner: Any  # as it was read: what is inside lives as long as this
    index: Any
    keys: Ids  # (n,) by which its vectors are asked for
    ids: Ids | None  # (n,) that it was given; None: it numbers its rows


def main(path: str) -> None:
    """Write what is in an index file to stdout."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # where FAISS prints, if it does
    with out:
        try:
            opened = _open(path)
        except (RuntimeError, MemoryError) as error:  # a wrong length is memory that is not there
            said = "does not give its vectors back" if "reconstruct" in str(error) else ""
            out.write(json.dumps({"error": said or "holds no index that FAISS can read"}).encode())
        else:
            _write(opened, out)


def _open(path: str) -> _Opened:
    import faiss

    owner: Any = faiss.read_index(path)
    index = owner
    ids = None
    if isinstance(owner, faiss.IndexIDMap):
        ids = np.array(cast(Any, faiss).vector_to_array(owner.id_map), np.int64)
        index = owner.index
    index = cast(Any, faiss).downcast_index(index)
    keys = np.arange(index.ntotal, dtype=np.int64)
    inverted = cast(Any, faiss).try_extract_index_ivf(index)
    if inverted is not None:
        own = _held(inverted)
        inverted.set_direct_map_type(cast(Any, faiss).DirectMap.Hashtable)
        if ids is None and not np.array_equal(own, keys):
            ids = own
        keys = own
    if len(keys):
        index.reconstruct_batch(keys[:1])
    return _Opened(owner, index, keys, ids)


def _write(opened: _Opened, out: BinaryIO) -> None:
    about = {
        "kind": type(opened.index).__name__,
        "dim": int(opened.index.d),
        "count": len(opened.keys),
        "has_ids": opened.ids is not None,
    }
    out.write(json.dumps(about).encode() + b"\n")
    out.write((opened.keys if opened.ids is None else opened.ids).tobytes())
    for start in range(0, len(opened.keys), _ROWS):
        rows = opened.index.reconstruct_batch(opened.keys[start : start + _ROWS])
        out.write(np.ascontiguousarray(rows, np.float32).tobytes())


def _held(index: Any) -> Ids:
    """Give the ids in the lists of an index, ascending."""
    import faiss

    lists = index.invlists
    found = [np.empty(0, np.int64)]
    for number in range(index.nlist):
        size = lists.list_size(number)
        if size:  # a copy: the array that FAISS gives is its own memory
            found.append(np.array(faiss.rev_swig_ptr(lists.get_ids(number), size), np.int64))
    return np.sort(np.concatenate(found))


if __name__ == "__main__":
    main(sys.argv[1])
