"""The pages, a file for each group of them. Every state of a page is an address."""
