"""From sources to a catalog: files are walked, decoded, embedded and written down."""
