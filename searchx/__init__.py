"""searchx: cross-modal semantic search over your own images and texts.

The public names are loaded when they are first used, so that ``import searchx`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.pipeline import index_into as index
    from searchx.arrow import write_parquet
    from searchx.blocks import Block
    from searchx.encoder import Encoder, load_encoder
    from searchx.errors import SearchxError
    from searchx.measures import measure
    from searchx.query import parse, parse_filter
    from searchx.records import (
        Answer,
        Explained,
        Facet,
        Facets,
        Hit,
        Item,
        Location,
        Part,
        Query,
        Report,
    )
    from searchx.remote import RemoteLibrary, connect
    from searchx.search import Library, create_library, open_library

    create = create_library
    open = open_library

_PLACES = {
    "Answer": "searchx.records:Answer",
    "Block": "searchx.blocks:Block",
    "Encoder": "searchx.encoder:Encoder",
    "Explained": "searchx.records:Explained",
    "Facet": "searchx.records:Facet",
    "Facets": "searchx.records:Facets",
    "Hit": "searchx.records:Hit",
    "Item": "searchx.records:Item",
    "Library": "searchx.search:Library",
    "Location": "searchx.records:Location",
    "Part": "searchx.records:Part",
    "Query": "searchx.records:Query",
    "RemoteLibrary": "searchx.remote:RemoteLibrary",
    "Report": "searchx.records:Report",
    "SearchxError": "searchx.errors:SearchxError",
    "connect": "searchx.remote:connect",
    "create": "searchx.search:create_library",
    "index": "indexer.pipeline:index_into",
    "load_encoder": "searchx.encoder:load_encoder",
    "measure": "searchx.measures:measure",
    "open": "searchx.search:open_library",
    "parse": "searchx.query:parse",
    "parse_filter": "searchx.query:parse_filter",
    "write_parquet": "searchx.arrow:write_parquet",
}

__all__ = [
    "Answer",
    "Block",
    "Encoder",
    "Explained",
    "Facet",
    "Facets",
    "Hit",
    "Item",
    "Library",
    "Location",
    "Part",
    "Query",
    "RemoteLibrary",
    "Report",
    "SearchxError",
    "connect",
    "create",
    "index",
    "load_encoder",
    "measure",
    "open",
    "parse",
    "parse_filter",
    "write_parquet",
]


def __getattr__(name: str) -> object:
    """Load a public name where it lives (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'searchx' has no attribute {name!r}")
    module, attribute = _PLACES[name].split(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
