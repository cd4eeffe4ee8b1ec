"""A library inside other frameworks, each in a module that is imported by who has it.

`langchain`, `llamaindex`, `haystack`, `sklearn`, `torch` and `datasets`. docs/exchange.md tells
what each gives. They are thin: whatever they do, a library does.
"""
