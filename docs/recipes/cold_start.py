"""Cold start: for new items that nobody has clicked, the users whose interests they meet."""

import sys

import numpy as np
import pyarrow.parquet as pq

import searchx

library, histories, new = sys.argv[
    1:
]  # histories: user, items; new: a filter, "meta.since:2024-06-"
table = pq.read_table(histories)
with searchx.open(library) as shop:
    made = shop.recommend_batch(table["items"], k=10, where=new, collection="items")
    names = [shop.externals(ids[ids >= 0]) for ids in made.ids]
best = np.sort(made.scores[:, 0])[-100:].min()  # the hundred users whom something meets best
for user, items, scores in zip(table["user"].to_pylist(), names, made.scores):
    if fitting := [item for item, score in zip(items, scores) if score >= best]:
        print(user, *fitting)
