"""Cold start: for new items that nobody has clicked, the users whose interests they meet."""

import sys

import numpy as np
import pyarrow.parquet as pq

import searchx

library, histories, new = sys.argv[1:]  # histories: user, items; new: a filter, "taken:2024-06-"
table = pq.read_table(histories)
with searchx.open(library) as shop:
    made = shop.recommend_batch(table["items"], k=10, where=new)
best = np.sort(made.scores[:, 0])[-100:].min()  # the hundred users whom something meets best
for user, ids, scores in zip(table["user"].to_pylist(), made.ids, made.scores):
    if scores[0] >= best and ids[0] >= 0:
        print(user, *ids[(ids >= 0) & (scores >= best)])
