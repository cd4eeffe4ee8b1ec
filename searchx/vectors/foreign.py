"""Index files of others: FAISS may give their vectors back, exactly or nearly."""

import json
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np

from searchx.children import command_of, environment
from searchx.errors import BadInput
from searchx.records import Ids, Vectors

_EXACT: Final = ("IndexFlat", "IndexFlatL2", "IndexFlatIP", "IndexIVFFlat", "IndexHNSWFlat")
_LONGEST: Final = 1 << 12  # bytes of the line that tells what is in an index


@dataclass(frozen=True, slots=True)
class Foreign:
    """An index that was made elsewhere, and whose vectors can be had."""

    path: Path
    kind: str  # such as "IndexIVFFlat"
    dim: int
    count: int
    has_ids: bool  # that it was given; else it numbers its rows

    @property
    def is_exact(self) -> bool:
        return self.kind in _EXACT

    def blocks(self, size: int) -> Iterator[tuple[Ids, Vectors]]:
        """Give ids and rows (b, dim) in blocks of a size. Raises BadInput."""
        with _unpacked(self.path) as (_, out):
            ids = np.frombuffer(self._read(out, 8 * self.count), np.int64)
            for start in range(0, self.count, size):
                some = ids[start : start + size]
                data = self._read(out, 4 * self.dim * len(some))
                yield some, np.frombuffer(data, np.float32).reshape(len(some), self.dim)

    def _read(self, out: IO[bytes], size: int) -> bytes:
        data = out.read(size)
        if len(data) < size:
            raise BadInput(f"{self.path} cannot be read to its end; FAISS stopped at it")
        return data


def open_foreign(path: Path) -> Foreign:
    """Read an index file and see whether it gives its vectors back. Raises BadInput."""
    with _unpacked(path) as (about, _):
        return Foreign(path, about["kind"], about["dim"], about["count"], about["has_ids"])


def write_flat(blocks: Iterable[Vectors], dim: int, place: Path) -> None:
    """Write rows to an exact index of inner products."""
    import faiss

    index: Any = faiss.IndexFlatIP(dim)
    for rows in blocks:
        index.add(np.ascontiguousarray(rows, np.float32))
    with place.open("wb") as opened:  # FAISS's own files say nothing where the last bytes are lost
        faiss.write_index(index, cast(Any, faiss).PyCallbackIOWriter(opened.write))


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[dict[str, Any], IO[bytes]]]:
    """Take an index apart in a process of its own; gives what it is, and what follows.

    FAISS may end its process over a file.
    """
    if not path.is_file():
        raise BadInput(f"{path} is no file")
    command = command_of("searchx.vectors.unpacking", str(path.absolute()))
    silent = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=silent, stdout=subprocess.PIPE, stderr=silent, env=environment()
    ) as process:
        out = cast(IO[bytes], process.stdout)
        try:
            line = out.readline(_LONGEST)
            about = json.loads(line) if line else {"error": "is an index that FAISS crashes on"}
            if "error" in about:
                raise BadInput(
                    f"{path} {about['error']}; import the vectors that it was made of, or embed "
                    "the items anew"
                )
            yield about, out
        finally:
            process.kill()
