"""A nightly batch: lists for any number of users, from Parquet to Parquet, a batch in memory."""

import sys

import pyarrow.parquet as pq

import searchx

library, histories, lists = sys.argv[1:]  # histories: user, and items: lists of ids, oldest first


def batches(shop):
    for batch in pq.ParquetFile(histories).iter_batches(100_000):
        made = shop.recommend_batch(batch["items"], k=50, collection="items")
        yield from made.arrow(batch["user"], names=shop.externals).combine_chunks().to_batches()


with searchx.open(library) as shop:
    print(searchx.write_parquet(batches(shop), lists), "users")
    similar = shop.similar_items(k=20, names=shop.externals)
    print(searchx.write_parquet(similar, lists + ".items"), "items")
