"""The shapes of the HTTP API: what can be asked, with its limits, and what is answered."""

from typing import Annotated, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from searchx import records
from searchx.records import Band, Kind, Target
from web.pictures import MAX_ID

MAX_K = 200
MAX_VALUES_SHOWN = 1000  # of a facet
MAX_UPLOAD = 32 * 2**20  # bytes of one request
MAX_TEXT = 2000  # characters of a query; encoders read far fewer
MAX_CURSOR = 64  # characters

Words = Annotated[
    str, Field(max_length=MAX_TEXT, description="What to look for, in the query language.")
]
Filters = Annotated[
    str | None,
    Field(
        max_length=MAX_TEXT,
        description="What a hit has to be: filters of the query language.",
        examples=["folder:trips taken:2019"],
    ),
]
Count = Annotated[int, Field(ge=1, le=MAX_K, description="How many hits, 1 to 200.")]
Found = Annotated[
    Target, Field(description="What to find, unless the words say so themselves with kind:.")
]
Place = Annotated[
    str | None,
    Field(max_length=MAX_CURSOR, description="The cursor of the page before this one."),
]
Group = Annotated[bool, Field(description="Give near duplicates as one hit.")]
Diversity = Annotated[
    float,
    Field(ge=0, le=1, allow_inf_nan=False, description="Prefer hits unlike each other, 0 to 1."),
]
Explain = Annotated[bool, Field(description="Tell how it was searched.")]


class Asked(BaseModel):
    """What a request may hold; a name that is not known is refused, since it is a mistake."""

    model_config = ConfigDict(extra="forbid")


class How(Asked):
    """How a search is to be answered."""

    k: Count = 10
    after: Place = None
    group: Group = False
    diversity: Diversity = 0.0
    explain: Explain = False


class What(Asked):
    """What to search for, in an address."""

    q: Words = ""
    to: Found = "image"
    like: Annotated[
        int | None, Field(ge=1, le=MAX_ID, description="The id of an item: find more like it.")
    ] = None
    where: Filters = None


class SearchAsked(How, What):
    """A search as an address asks for it."""


class SimilarAsked(How):
    """What is like an item, as an address asks for it."""

    to: Found = "image"
    where: Filters = None


class FormAsked(SearchAsked):
    """A search as a form asks for it."""

    image: Annotated[UploadFile | None, Field(description="A picture file.")] = None


class Document(Asked):
    """What to search for, in a JSON document, which `query_from_json` reads."""

    text: Annotated[str, Field(description="Words.")] = ""
    image: Annotated[str | None, Field(description="A picture, in base64.")] = None
    like: Annotated[int | None, Field(description="The id of an item.")] = None
    parts: Annotated[
        list[dict[str, object]],
        Field(description="More of text, image or like, each with a weight."),
    ] = []
    where: Annotated[
        dict[str, object] | None, Field(description="What a hit has to be: a filter as JSON.")
    ] = None
    to: Annotated[Target, Field(description="What to find.")] = "image"


class DocumentAsked(How, Document):
    """A search as a JSON document asks for it."""


class SampleAsked(Asked):
    """Items at random as an address asks for them."""

    k: Count = 10
    to: Annotated[Kind, Field(description="What to find: images or texts.")] = "image"
    where: Filters = None
    seed: Annotated[
        int | None, Field(ge=0, le=MAX_ID, description="The same seed gives the same items.")
    ] = None


class FacetsAsked(Asked):
    """Counts as an address asks for them."""

    where: Filters = None
    k: Annotated[int, Field(ge=1, le=MAX_VALUES_SHOWN, description="Values of each facet.")] = 50


class FacetShape(BaseModel):
    """A value, how many items have it, and the filter that finds them."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"value": "Canon EOS R5", "count": 97, "where": 'camera:"Canon EOS R5"'}
        }
    )

    value: str
    count: int
    where: str


class FacetsShape(BaseModel):
    """The most frequent values, the most frequent first."""

    kind: list[FacetShape]
    year: list[FacetShape]
    folder: list[FacetShape]
    source: list[FacetShape]
    ext: list[FacetShape]
    format: list[FacetShape]
    camera: list[FacetShape]
    lens: list[FacetShape]
    orientation: list[FacetShape]
    keyword: list[FacetShape]
    rating: list[FacetShape]
    has: list[FacetShape]
    meta: dict[str, list[FacetShape]] = Field(
        description="By the columns that were added with items; of one with many values none."
    )


class FacetsAnswer(BaseModel):
    """How many items pass a filter, and what they have. `where` of a facet stands beside it."""

    query: FacetsAsked
    items: int
    facets: FacetsShape


class LocationShape(BaseModel):
    """Where an item was found. What is not known of the place in the file is left out.

    `meta` are the columns that a program added with it, by name.
    """

    source: str
    path: str
    fragment: str
    page: int | None = None
    line: int | None = None
    start: int | None = None
    end: int | None = None
    meta: dict[str, object] | None = None


class MetadataShape(BaseModel):
    """What is known of a picture besides its pixels. What is not known is left out.

    `taken` is local time in ISO 8601, with its zone where that is known, and `taken_from` the
    rule that gave it. Degrees are positive to the north and east, `altitude` is in metres.
    """

    taken: str | None = None
    taken_from: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None
    camera: str | None = None
    lens: str | None = None
    orientation: records.Shape | None = None
    format: str | None = None
    bytes: int | None = None
    title: str | None = None
    rating: int | None = None
    keywords: list[str] | None = None


class ItemShape(BaseModel):
    """An item.

    A text has `text` and `pictures`, the ids of the images that it belongs to; an image has
    `width`, `height`, `metadata` and `captions`, the texts that belong to it. What a program added
    has `external`, its id there, and `meta`, the columns that came with it.
    """

    id: int
    kind: Kind
    digest: str
    path: str
    paths: list[str]
    locations: list[LocationShape]
    text: str | None = None
    pictures: list[int] | None = None
    width: int | None = None
    height: int | None = None
    metadata: MetadataShape | None = None
    captions: list[str] | None = None
    tags: list[str] | None = None  # labels that `searchx tag` gave


class ContextShape(BaseModel):
    """The passages before and after a passage of a document; empty where there is none."""

    before: str
    after: str


class ItemAnswer(ItemShape):
    """An item; a text has `context`."""

    context: ContextShape | None = None


class WhyShape(BaseModel):
    """What made an item a hit.

    `rank` is its place by the vector alone; null where only words found it. `words` of the query
    stand with the item, in its `fields`. `lowered` is what negative parts took from the cosine.
    """

    rank: int | None
    words: list[str]
    fields: list[str]
    lowered: float


class HitShape(ItemShape):
    """An item with its exact cosine to the query, and what that is worth in this library.

    `relevance` is between 0 and 1, and null where nothing was compared, which is a `score` of 0.
    `alike` are the ids of the near duplicates that the hit stands for.
    """

    score: float
    relevance: float | None
    band: Band | None
    why: WhyShape
    alike: list[int]


class QueryShape(BaseModel):
    """What was asked, as it was sent; `image` is the name of a picture file."""

    text: str
    image: str | None
    like: int | None
    to: Target
    k: int
    where: str | dict[str, object] | None
    after: str | None
    group: bool
    diversity: float


class ExplainedShape(BaseModel):
    """How one kind was searched. `recall` is recall@10 as measured when the index was built."""

    kind: Kind
    way: str
    items: int
    passing: int
    tail: int
    nprobe: int
    depth: int
    recall: dict[str, float]
    milliseconds: dict[str, float]


class Answer(BaseModel):
    """The hits, best first, and what there is to say about them.

    `cursor` gives the next page; null where there is none. `chance` is that the library holds an
    answer at all; without `has_match` the hits are only the nearest there is. `notice` is how the
    query may have been meant. `explained` is there where it was asked for.
    """

    query: QueryShape
    hits: list[HitShape]
    cursor: str | None
    has_match: bool
    chance: float | None
    notice: str | None
    explained: list[ExplainedShape] | None = None


class SampleShape(BaseModel):
    """What was asked; the same `seed` gives the same items while the library stays as it is."""

    k: int
    to: Kind
    where: str | None
    seed: int


class Sample(BaseModel):
    """Items at random, as hits that were not compared with anything."""

    query: SampleShape
    hits: list[HitShape]


class State(BaseModel):
    status: Literal["ok", "ready"]
