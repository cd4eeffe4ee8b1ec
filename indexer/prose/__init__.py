"""Documents to passages of text: what is in a file, and where it can be cut."""
