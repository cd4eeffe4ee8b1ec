"""From clip-retrieval: its folder of embeddings becomes a library that texts can be asked of."""

import sys

import searchx
from searchx.exchange import import_into

folder, library, model, question = sys.argv[1:]  # model: what it was made with, "ViT-B-32/openai"
with searchx.create(library, model=model, exist_ok=True) as photos:
    report = import_into(photos, folder)  # img_emb and metadata; can be repeated
    print(f"{report.added} added, {len(report.skipped)} left out")
    for hit in photos.search(question, k=5):  # what ClipClient.query and the page of clip back did
        print(round(hit.score, 3), hit.external, hit.meta.get("url", ""), *hit.item.captions)
