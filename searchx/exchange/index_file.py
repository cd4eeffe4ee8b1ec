"""FAISS index files: the vectors in `NAME.index` or `NAME.faiss`, their ids in `NAME.ids.npy`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from searchx import vectors
from searchx.exchange.npy import as_array, ids_beside, ids_in
from searchx.exchange.offers import NO_IDS, Offer, Wanted, batch_of, check_dim, rows_in
from searchx.exchange.outgoing import Outgoing, Written
from searchx.exchange.swapping import new_files
from searchx.records import Vectors

if TYPE_CHECKING:
    import pyarrow


def read(path: Path, wanted: Wanted) -> Offer:
    """Offer the vectors of an index, with the ids beside it, its own, or the numbers of rows."""
    found = vectors.open_foreign(path)
    dim = check_dim(found.dim, path)
    known = ids_beside(path, found.count)
    size = rows_in(dim)

    def batches() -> Iterator["pyarrow.RecordBatch"]:
        names = None if known is None else ids_in(known, size)
        for ids, rows in found.blocks(size):
            yield batch_of(ids if names is None else next(names), rows)

    notes: tuple[str, ...] = () if known or found.has_ids else (NO_IDS,)
    if not found.is_exact:
        notes += (f"its vectors are approximate: a {found.kind} keeps them in fewer bytes",)
    return Offer("faiss", dim, batches(), found.count, notes=notes)


def write(outgoing: Outgoing, to: Path) -> Written:
    """Write an exact index (IndexFlatIP) of unit rows; it is built in memory, as FAISS has it."""
    beside = to.with_name(f"{to.stem}.ids.npy")
    ids: list[str] = []

    def rows() -> Iterator[Vectors]:
        for one in outgoing.rows():
            ids.extend(one.names)
            yield one.vectors

    with new_files(beside, to) as (ids_part, part):
        vectors.write_flat(rows(), outgoing.space.dim, part)
        with ids_part.open("wb") as file:
            np.save(file, as_array(ids), allow_pickle=False)
    return Written("faiss", len(ids), (to, beside))
