"""The schema of the catalog, version by version."""
