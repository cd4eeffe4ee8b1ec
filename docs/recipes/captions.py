"""Captions for a photo set from a text corpus: for each photo the line that fits it best."""

import json
import sys
from pathlib import Path

import searchx

library, corpus, captions = sys.argv[1:]  # corpus: a text file, a caption a line
lines = list(dict.fromkeys(filter(None, map(str.strip, Path(corpus).read_text().splitlines()))))
with searchx.open(library) as photos, Path(captions).open("w") as file:
    texts = photos.embed(texts=lines, as_items=True)
    near = photos.search_batch(texts, k=min(10, photos.overview().images))[1]
    usual = near.mean(axis=1)  # some lines fit every photo a little, and must not get them all
    for block in photos.blocks():
        scores = block.vectors @ texts.T - usual
        for item, best in zip(photos.items(block.ids), scores.argmax(axis=1)):
            print(json.dumps({"image": item.path, "captions": [lines[best]]}), file=file)
