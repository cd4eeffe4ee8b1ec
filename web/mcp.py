"""The library as tools of an assistant: the Model Context Protocol, by its official SDK.

`searchx mcp` speaks it over stdin and stdout, the server at /mcp (see `web.assistants`).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal

from fastapi import HTTPException
from mcp.server import MCPServer
from mcp.server.mcpserver import Image
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from searchx.errors import SearchxError
from searchx.query import parse
from searchx.records import Answer, Hit, Item, meta_as_dict
from searchx.search import Library
from web.api.search import context_of
from web.shapes import MAX_TEXT
from web.thumbnails import small

MAX_HITS: Final = 50
_PASSAGE: Final = 1000  # characters of a text in a list of hits
_READS: Final = ToolAnnotations(
    read_only_hint=True, idempotent_hint=True, destructive_hint=False, open_world_hint=False
)
_INSTRUCTIONS: Final = """\
This searches the user's own photos and texts by meaning. Describe what is to be seen or said, in \
a short phrase such as "a dog jumping into a lake"; search understands pictures, not only words. \
Each hit has a band: strong, fair or weak. When has_match is false nothing in the library answers \
the query: say so instead of offering the nearest. Use get_item to look at a picture before you \
describe it."""
_LANGUAGE: Final = """\
Search the user's library by meaning.

query is a short description of what to find, in the query language:
  a dog on a beach               what the words mean
  a dog -snow                    less of what matches snow (a blank before the minus)
  a dog +"green hills"^2         a second thing to look for, with a weight
  like:123 in the snow           like item 123, and in the snow
  IMG_4711                       words of file names, captions, keywords and texts count as well
where holds filters only, all of which a hit has to pass:
  taken:2019  taken:2019-07  taken:>2019  2019-2021   when a picture was taken
  folder:trips   name:IMG_2*   ext:pdf   source:/media/photos
  camera:canon|nikon   lens:"50mm"   format:heif   orientation:portrait
  keyword:"red car"   title:sunset   rating:4-   has:place   is:duplicate
  near:48.2,16.4,10km   size:>2mp
  meta.brand:acme   meta.price:<50    columns of items that a program added; filters names them
A minus in front negates (-folder:scans), | means any of several values, and quotes hold a value \
with blanks. A filter without a query lists what passes it."""

To = Annotated[
    Literal["image", "text", "both"],
    Field(description="What to find: pictures, passages of texts, or both."),
]
K = Annotated[int, Field(ge=1, le=MAX_HITS, description="How many hits.")]
Where = Annotated[str, Field(max_length=MAX_TEXT, description="Filters, such as taken:2019.")]
After = Annotated[
    str, Field(max_length=64, description="The cursor of the page before, for the next one.")
]


class FoundItem(BaseModel):
    """A hit in short; get_item has the rest."""

    id: int
    kind: Literal["image", "text"]
    path: str
    band: Literal["strong", "fair", "weak"] | None
    relevance: float | None
    taken: str | None = None
    camera: str | None = None
    captions: list[str] = []
    text: str | None = None
    external: str | None = Field(None, description="The id that a program added it by.")
    meta: dict[str, Any] = Field({}, description="The columns that were added with it.")


class FoundItems(BaseModel):
    """Hits, best first."""

    hits: list[FoundItem]
    has_match: bool = Field(description="False: nothing answers the query, these are the nearest.")
    cursor: str | None = Field(description="Give it as after for the next page; null at the end.")
    notice: str | None = Field(description="How the query may have been meant.")


def create_server(library: Library) -> MCPServer[Any]:
    """Make the server of one library's tools."""
    server: MCPServer[Any] = MCPServer("searchx", instructions=_INSTRUCTIONS, log_level="WARNING")

    @server.tool(description=_LANGUAGE, annotations=_READS)
    def search(
        query: Annotated[str, Field(max_length=MAX_TEXT, description="What to look for.")] = "",
        k: K = 10,
        to: To = "both",
        where: Where = "",
        after: After = "",
    ) -> FoundItems:
        with _told():
            asked = parse(query, files=False)
            return _found(library.ask(asked, k, to, where=where, after=after or None))

    @server.tool(
        description="Find what is most like an item of the library: its look for a picture, its "
        "meaning for a text. With to, pictures can be found for a text and texts for a picture.",
        annotations=_READS,
    )
    def similar(
        id: Annotated[int, Field(ge=1, lt=2**63, description="The id of an item.")],
        k: K = 10,
        to: To = "image",
        where: Where = "",
        after: After = "",
    ) -> FoundItems:
        with _told():
            return _found(library.similar(id, k, to, where=where, after=after or None))

    @server.tool(
        description="Tell what the library can be filtered by, with counts: years, folders, "
        "cameras, keywords, and as meta the columns that programs added. Each value has its filter "
        "as where; a column without values has too many: compare it, as in meta.price:<50.",
        annotations=_READS,
        structured_output=False,
    )
    def filters(
        where: Where = "",
        k: Annotated[int, Field(ge=1, le=MAX_HITS, description="Values of each.")] = 10,
    ) -> str:
        with _told():
            return _sayable(json.dumps(library.facets(where, k).as_dict(), ensure_ascii=False))

    @server.tool(
        description="Get all that is known of an item: places, metadata, captions, its whole text "
        "with what stands beside it, and a small picture of an image to look at.",
        annotations=_READS,
        structured_output=False,
    )
    def get_item(
        id: Annotated[int, Field(ge=1, lt=2**63, description="The id of an item.")],
    ) -> list[Any]:
        with _told():
            return _shown(library, library.item(id))

    return server


@contextmanager
def _told() -> Iterator[None]:
    """Tell an assistant what is wrong, in words that it can act on."""
    try:
        yield
    except SearchxError as error:
        raise ToolError(str(error)) from None


def _found(answer: Answer) -> FoundItems:
    return FoundItems(
        hits=[_short(one) for one in answer.hits],
        has_match=answer.has_match,
        cursor=answer.cursor,
        notice=answer.notice,
    )


def _short(hit: Hit) -> FoundItem:
    item, about = hit.item, hit.item.metadata
    return FoundItem(
        id=item.id,
        kind=item.kind,
        path=_sayable(item.path),
        band=hit.band,
        relevance=None if hit.relevance is None else round(hit.relevance, 3),
        taken=about.taken.isoformat() if about and about.taken else None,
        camera=about.camera if about else None,
        captions=[_sayable(one[:_PASSAGE]) for one in item.captions[:3]],
        text=None if item.text is None else _sayable(item.text[:_PASSAGE]),
        external=item.external,
        meta={name: _brief(value) for name, value in meta_as_dict(item.meta).items()},
    )


def _brief(value: object) -> object:
    return _sayable(value[:_PASSAGE]) if isinstance(value, str) else value


def _shown(library: Library, item: Item) -> list[Any]:
    shape = Hit(item, 0.0).as_dict()
    for name in ("score", "relevance", "band", "why", "alike"):
        del shape[name]  # an item by itself answers no question
    if item.kind == "text":
        before, after = context_of(library, item)
        return [json.dumps(shape | {"before": before, "after": after}, indent=1)]
    try:
        picture = [Image(data=small(item, library.directory), format="webp")]
    except (HTTPException, SearchxError) as error:
        shape["picture"] = getattr(error, "detail", None) or str(error)
        picture = []
    return [json.dumps(shape, indent=1), *picture]


def _sayable(text: str) -> str:
    """Give a text as JSON can carry it: names of files may be none."""
    return text.encode("utf-8", "replace").decode()
