"""The query language of people, and its JSON form for programs.

Whatever a person types gives a query, or one line that names the bit that is wrong and what would
be right.
"""

from searchx.query.completing import Typed, typed_at
from searchx.query.documents import query_as_json, query_from_json
from searchx.query.negation import notice
from searchx.query.reading import MAX_PARTS, WEIGHTS, parse, parse_filter
from searchx.query.writing import written

__all__ = [
    "MAX_PARTS",
    "WEIGHTS",
    "Typed",
    "notice",
    "parse",
    "parse_filter",
    "query_as_json",
    "query_from_json",
    "typed_at",
    "written",
]
