"""A shop out of a table: products with a picture, a title and columns, added or replaced."""

import sys

import pyarrow.parquet as pq

import searchx

library, products, model = sys.argv[1:]  # "mini", or what searchx models lists
# products: id, image (bytes or a path), title, and any columns, such as price and brand
with searchx.create(library, model=model, exist_ok=True) as shop:
    for batch in pq.ParquetFile(products).iter_batches(1_000):
        columns = {name: batch[name] for name in batch.schema.names}
        report = shop.add(
            columns.pop("id"),
            images=columns.pop("image"),
            texts=columns["title"],
            metadata=columns,
        )
        print(f"{report.added} added, {report.updated} updated")
        for product, reason in ((one.path, one.reason) for one in report.skipped):
            print(f"{product} was left out: {reason}")
