"""Picture files to pixels: the one way for indexing, queries, thumbnails and training."""
