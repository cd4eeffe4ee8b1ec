"""The JSON routes. The names that pages use of them stand here."""

from fastapi import APIRouter

from web.api import batch, embedding, facets, items, labels, library, search
from web.api.search import SEEDS, Served, content_of, context_of, find, query_of

__all__ = ["SEEDS", "Served", "content_of", "context_of", "find", "query_of", "router"]

router = APIRouter()
for one in (search, batch, facets, items, labels, library, embedding):
    router.include_router(one.router)
