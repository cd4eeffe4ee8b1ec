"""Similar products: what is most like one, in its price range, at most two of a brand."""

import sys

import searchx

library, product = sys.argv[1:]  # made by add_products.py, with the columns price and brand
with searchx.open(library) as shop:
    (item,) = shop.lookup([product])
    if item < 0:
        sys.exit(f"there is no product {product}")
    price = shop.item(item).meta["price"]
    hits = shop.recommend(
        [item],
        k=5,
        where=f"meta.price:{0.7 * price:.2f}-{1.3 * price:.2f}",
        group="meta.brand",
        per_group=2,
    )
    for hit in hits:
        print(hit.external, hit.meta["price"], hit.meta["brand"])
