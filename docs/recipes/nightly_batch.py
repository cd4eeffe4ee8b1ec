"""A nightly batch: lists for any number of users, from Parquet to Parquet, a batch in memory."""

import sys

import pyarrow.parquet as pq

import searchx

library, histories, lists = sys.argv[1:]  # histories: user, and items as a list, oldest first


def batches(shop):
    for batch in pq.ParquetFile(histories).iter_batches(100_000):
        made = shop.recommend_batch(batch["items"], k=50)
        yield from made.arrow(users=batch["user"]).combine_chunks().to_batches()


with searchx.open(library) as shop:
    print(searchx.write_parquet(batches(shop), lists), "users")
    print(searchx.write_parquet(shop.similar_items(k=20), lists + ".items"), "items")
