"""A home feed from clicks: what each user may like next, varied, and nothing twice."""

import sys

import pyarrow.parquet as pq

import searchx
from searchx.splits import by_user

library, clicks, feed = sys.argv[1:]  # clicks: a Parquet file of user, item and time
table = pq.read_table(clicks).to_pydict()
users, histories = by_user(table["user"], table["item"], table["time"])
_, times = by_user(table["user"], table["time"], table["time"])
with searchx.open(library) as shop:
    made = shop.recommend_batch(
        histories, k=20, times=times, half_life=7 * 86_400, diversity=0.2, collapse=0.97,
        collection="items",  # the clicks are on ids that were added, not on those of searchx
    )  # fmt: skip
    searchx.write_parquet(made.arrow(users=users, names=shop.externals), feed)
