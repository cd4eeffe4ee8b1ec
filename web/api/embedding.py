"""Texts and pictures to unit vectors: in shapes of our own, and in OpenAI's."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from searchx.encoder.names import canonical_name
from searchx.errors import BadInput, ModelError
from searchx.records import Query, Space, Vectors
from searchx.search import Library
from web.answers import document
from web.api.bodies import read, schema_of, sent_json
from web.api.inputs import EITHER, Format, Given, decoded, packed, queries_of
from web.api.search import BODY_PROBLEMS, Served
from web.shapes import Asked

_EMBEDDED: list[JsonValue] = [0.6, 0.0, 0.8]  # in examples, of a model of three dimensions

router = APIRouter(tags=["embedding"])


class EmbedAsked(Asked):
    """Texts and pictures to embed."""

    inputs: Annotated[
        list[Given],
        Field(description="Texts as they stand, or queries of positive parts as JSON."),
    ]
    as_items: Annotated[
        bool, Field(description="Embed texts as the indexer embeds passages, not as queries.")
    ] = False
    format: Annotated[Format, Field(description=f"Of the vectors. {EITHER}.")] = "float"


class SpaceShape(BaseModel):
    """The exact model that made vectors. Only vectors of one `digest` can be compared."""

    name: str
    digest: str
    dim: int


class EmbedAnswer(BaseModel):
    """A unit vector for each input, in order. In base64 they are float32."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "space": {"name": "mini", "digest": "57c1a12f", "dim": 3},
                "shape": [1, 3],
                "vectors": [_EMBEDDED],
                "format": "float",
            }
        }
    )

    space: SpaceShape
    shape: tuple[int, int]
    vectors: list[list[float]] | str
    format: Format


class EmbeddingsAsked(Asked):
    """What OpenAI's route takes; `modality` as Infinity has it. `user` is not used."""

    input: Annotated[
        str | list[Given | int | list[int]],
        Field(
            description="A text or several. A picture is a data: address of base64, "
            '{"image": "…"}, or {"type": "image_url", "image_url": {"url": "data:…"}}.'
        ),
    ]
    model: Annotated[str, Field(description="The model of this library, see /v1/models.")]
    encoding_format: Format = "float"
    dimensions: Annotated[
        int | None, Field(description="The dimensions of the model; it has no others.")
    ] = None
    modality: Annotated[
        Literal["text", "image"], Field(description="What plain strings are: texts, or pictures.")
    ] = "text"
    user: str | None = None


class EmbeddingShape(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class UsageShape(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """OpenAI's shape. A picture counts no tokens."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "object": "list",
                "data": [{"object": "embedding", "index": 0, "embedding": _EMBEDDED}],
                "model": "mini",
                "usage": {"prompt_tokens": 5, "total_tokens": 5},
            }
        }
    )

    object: Literal["list"]
    data: list[EmbeddingShape]
    model: str
    usage: UsageShape


class ModelShape(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsAnswer(BaseModel):
    """OpenAI's shape: the one model of this library."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "object": "list",
                "data": [{"id": "mini", "object": "model", "created": 0, "owned_by": "searchx"}],
            }
        }
    )

    object: Literal["list"]
    data: list[ModelShape]


@router.post(
    "/api/embed",
    summary="Embed texts and pictures as queries are",
    response_model=EmbedAnswer,
    responses=BODY_PROBLEMS,
    openapi_extra=schema_of(EmbedAsked, {"inputs": ["a red bus", {"text": "in the snow"}]}),
)
def embed(library: Served, sent: Annotated[bytes, Depends(sent_json)]) -> Response:
    asked = read(EmbedAsked, sent)
    queries = queries_of(asked.inputs)
    rows = _as_items(library, queries) if asked.as_items else _embedded(library, queries)
    answer = {"space": shape_of(library.space), "shape": list(rows.shape), "format": asked.format}
    return document({**answer, "vectors": packed(rows, asked.format)})


@router.post(
    "/v1/embeddings",
    summary="Embed texts and pictures, in OpenAI's shape",
    response_model=EmbeddingsAnswer,
    responses={**BODY_PROBLEMS, 404: {"description": "The model is another one"}},
    openapi_extra=schema_of(EmbeddingsAsked, {"model": "mini", "input": ["a red bus", "a dog"]}),
)
def embeddings(library: Served, sent: Annotated[bytes, Depends(sent_json)]) -> Response:
    asked = read(EmbeddingsAsked, sent)
    space = library.space
    _check_model(asked, space)
    given = [asked.input] if isinstance(asked.input, str) else asked.input
    queries = queries_of([_input(one, place, asked) for place, one in enumerate(given)])
    rows = _embedded(library, queries)
    texts = [one for one in map(_text, queries) if one]
    tokens = sum(library.encoder.count_tokens(texts))
    data = [
        {"object": "embedding", "index": place, "embedding": packed(row, asked.encoding_format)}
        for place, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return document({"object": "list", "data": data, "model": space.name, "usage": usage})


@router.get(
    "/v1/models",
    summary="The model of this library, in OpenAI's shape",
    response_model=ModelsAnswer,
    responses={503: {"description": "Nothing is indexed yet"}},
)
def models(library: Served) -> Response:
    one = {"id": library.space.name, "object": "model", "created": 0, "owned_by": "searchx"}
    return document({"object": "list", "data": [one]})


def _embedded(library: Library, queries: Sequence[str | Query]) -> Vectors:
    return library.embed_batch(decoded(library, queries))


def _as_items(library: Library, queries: Sequence[str | Query]) -> Vectors:
    texts = [one for one in queries if isinstance(one, str)]
    if len(texts) < len(queries):
        raise BadInput("as_items is for texts as they stand; send pictures and queries without it")
    return library.embed(texts, as_items=True)


def shape_of(space: Space) -> dict[str, object]:
    """Give the shape of a space."""
    return {"name": space.name, "digest": space.digest, "dim": space.dim}


def _check_model(asked: EmbeddingsAsked, space: Space) -> None:
    """Fail with 404 for another model, and with 400 for other dimensions than it has."""
    try:
        is_served = asked.model == space.name or canonical_name(asked.model) == space.name
    except ModelError:
        is_served = False
    if not is_served:
        shown = asked.model.encode("ascii", "replace").decode()[:100]
        raise HTTPException(404, f'model "{shown}" is not served here; ask for "{space.name}"')
    if asked.dimensions not in (None, space.dim):
        raise BadInput(
            f"dimensions: {space.name} has {space.dim} and cannot be asked for others; leave it out"
        )


def _input(given: Given | int | list[int], place: int, asked: EmbeddingsAsked) -> Given:
    """Read one input into a text or a query as JSON; raises BadInput."""
    if isinstance(given, str):
        is_picture = asked.modality == "image" or given.startswith("data:image/")
        return _picture(given, place) if is_picture else given
    if not isinstance(given, dict):
        raise BadInput(f"input {place}: tokens of another model mean nothing here; send the text")
    rest = {key: value for key, value in given.items() if key != "type"}
    if set(rest) == {"image_url"}:
        url = rest["image_url"]
        return _picture(url.get("url") if isinstance(url, dict) else url, place)
    if set(rest) == {"image"}:
        return _picture(rest["image"], place)
    if set(rest) == {"text"} and isinstance(rest["text"], str):
        return rest["text"]
    raise BadInput(f'input {place}: write a text, {{"text": "…"}} or {{"image": "data:…"}}')


def _picture(image: object, place: int) -> Given:
    if isinstance(image, str) and image[:8].lower().startswith(("http://", "https://", "file:")):
        raise BadInput(f"input {place}: no address is fetched here; send the picture in base64")
    return {"image": image if image is not None else ""}


def _text(query: str | Query) -> str:
    return query if isinstance(query, str) else query.text
