"""Labels of the caller's own, and how likely each fits each picture."""

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from searchx.filters import All, Between, Filter, from_json
from searchx.labels.classifier import Classified, Shares
from searchx.labels.vocabulary import Vocabulary
from searchx.records import Ids
from searchx.requests import filter_of
from web.answers import document
from web.api.bodies import read, schema_of, sent_json
from web.api.inputs import EITHER, MAX_CHARACTERS, Format, packed
from web.api.search import BODY_PROBLEMS, Served
from web.shapes import Asked

MAX_TEXTS = 200  # labels, or phrases that stand for them: a label goes into several prompts
MAX_PICTURES = 10_000
MAX_SHARES = 1_000_000  # of all pictures together

router = APIRouter(tags=["search"])


class ClassifyAsked(Asked):
    """Labels, and the pictures that they are to be read for."""

    labels: Annotated[
        list[str] | dict[str, list[str]],
        Field(
            description='Entries: "dog", "dog: a dog; a puppy" with phrases, or "day | night", '
            "of which a picture gets one at most; or labels with their phrases."
        ),
    ]
    where: Annotated[
        str | dict[str, object] | None,
        Field(description="Which pictures: query language, or a filter as JSON."),
    ] = None
    k: Annotated[int, Field(ge=1, le=MAX_PICTURES, description="How many pictures.")] = 1000
    after: Annotated[
        int, Field(ge=0, le=(1 << 63) - 2, description="The `next` of the page before.")
    ] = 0
    format: Annotated[Format, Field(description=f"Of ids and shares. {EITHER}.")] = "float"


class ClassifyAnswer(BaseModel):
    """Pictures by ascending id, and in a row for each the chance that each of `names` fits.

    `next` is where the next page begins; none where there are no more pictures. In base64 ids are
    int64 and shares float32.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "names": ["beach", "day", "night"],
                "shape": [1, 3],
                "ids": [755],
                "shares": [[0.71, 0.93, 0.02]],
                "next": 755,
                "format": "float",
            }
        }
    )

    names: list[str]
    shape: tuple[int, int]
    ids: list[int] | str
    shares: list[list[float]] | str
    next: int | None
    format: Literal["float", "base64"]


@router.post(
    "/api/classify",
    summary="Tell how likely each of some labels fits each picture",
    response_model=ClassifyAnswer,
    responses=BODY_PROBLEMS,
    openapi_extra=schema_of(ClassifyAsked, {"labels": ["beach", "day | night"], "k": 100}),
)
def classify(library: Served, sent: Annotated[bytes, Depends(sent_json)]) -> Response:
    asked = read(ClassifyAsked, sent)
    vocabulary = Vocabulary.of(asked.labels)
    _check(vocabulary)
    most = min(asked.k, MAX_SHARES // len(vocabulary.labels))
    found = library.classify(vocabulary, where=_passing(asked))
    ids, shares = _first(found, most + 1, len(vocabulary.labels))
    is_last = len(ids) <= most
    ids, shares = ids[:most], shares[:most]
    answer: dict[str, object] = {
        "names": vocabulary.names,
        "shape": list(shares.shape),
        "ids": packed(ids, asked.format),
        "shares": packed(shares, asked.format),
        "next": None if is_last else int(ids[-1]),
        "format": asked.format,
    }
    return document(answer)


def _check(vocabulary: Vocabulary) -> None:
    """Fail with 413 for more than can be embedded while somebody waits."""
    texts = [one for label in vocabulary.labels for one in (label.phrases or (label.name,))]
    if len(texts) > MAX_TEXTS or sum(map(len, texts)) > MAX_CHARACTERS:
        raise HTTPException(
            413, f"{len(texts):,} labels and phrases are more than {MAX_TEXTS:,}; send fewer"
        )


def _passing(asked: ClassifyAsked) -> Filter | None:
    """Give the filter of the pictures that come after those of the page before."""
    where = from_json(asked.where) if isinstance(asked.where, dict) else filter_of(asked.where)
    if not asked.after:
        return where
    later = Between("id", asked.after + 1, None)
    return later if where is None else All((where, later))


def _first(found: Iterator[Classified], most: int, labels: int) -> tuple[Ids, Shares]:
    """Give the first pictures (b,) and their shares (b, labels); no more are judged."""
    ids, shares = [np.empty(0, np.int64)], [np.empty((0, labels), np.float32)]
    count = 0
    for block in found:
        ids.append(block.ids)
        shares.append(block.shares)
        count += len(block)
        if count >= most:
            break
    return np.concatenate(ids)[:most], np.concatenate(shares)[:most]
