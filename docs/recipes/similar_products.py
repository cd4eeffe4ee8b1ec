"""Similar products: for each item its nearest in the same price range, at most two of a brand."""

import sys

import numpy as np
import pyarrow.parquet as pq

import searchx

library, products, item = sys.argv[1], sys.argv[2], int(sys.argv[3])
table = pq.read_table(products)  # item, price and brand of each product
price = dict(zip(table["item"].to_pylist(), table["price"].to_pylist()))
brand = dict(zip(table["item"].to_pylist(), table["brand"].to_pylist()))


def in_range(batch):
    prices = np.array([price.get(one, np.inf) for one in batch["id"].to_pylist()])
    return np.where(abs(prices / price[item] - 1) <= 0.3, batch["score"], -np.inf)


with searchx.open(library) as shop:
    for hit in shop.recommend([item], k=5, group=brand, per_group=2, rescore=in_range):
        print(hit.id, price[hit.id], brand[hit.id], hit.path)
