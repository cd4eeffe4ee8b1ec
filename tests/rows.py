"""Vectors of a test as the catalog would read them out."""

import numpy as np

from searchx.records import Ids, Rows
from searchx.vectors import Halves


def rows_of(ids: Ids, matrix: Halves) -> Rows:
    order = np.argsort(ids)
    return Rows(len(ids), matrix.shape[1], iter([(ids[order], matrix[order])]))
