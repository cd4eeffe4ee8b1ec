"""Corpus files to rows of texts and pictures, however many there are."""
