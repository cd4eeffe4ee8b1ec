"""Add what is in no file: rows of a table, a stream, vectors that were made elsewhere."""
