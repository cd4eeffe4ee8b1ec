"""The heat of a picture over HTTP: where it answers a query, as a picture to lay over it."""

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Final

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi import Query as InAddress
from fastapi.responses import Response
from PIL import Image

from searchx.heat import WINDOWS, Heat
from searchx.records import Item
from web import decoding
from web.api import Served
from web.asked import Asked
from web.pictures import MAX_ID, ItemId, UploadsHere, cached, content_of, image_of
from web.shapes import MAX_TEXT
from web.trail import question_of

HEAT_SIDE: Final = 256  # pixels, longest side: it is smooth, and shown as large as the picture
KEPT: Final = 512  # of some 5 kB
WAITING: Final = 4  # one at a time is worked out; so many may wait, or be it
RETRY: Final = 3  # seconds, about what one takes
LEAST: Final = 0.004  # a cosine that tells nothing; where no part has more, nothing stands out
VEIL: Final = (12, 10, 28)  # the colour over what does not answer
DENSEST: Final = 200  # of 255, where the picture can still be made out

router = APIRouter(tags=["items"])


class Heats:
    """Heat maps of late. One is worked out at a time; safe to use from many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._places = threading.BoundedSemaphore(WAITING)
        self._working = threading.Lock()

    def get(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Give what is kept under a key, or make it; fails with 503 where too many wait."""
        kept = self._kept.get(key)  # another thread may drop it at any time
        if kept is not None:
            return kept
        if not self._places.acquire(blocking=False):
            line = "too many pictures are being looked at; try again in a few seconds"
            raise HTTPException(503, line, {"retry-after": str(RETRY)})
        try:
            with self._working:
                kept = self._kept.get(key)
                if kept is None:
                    kept = self._kept[key] = make()
                    while len(self._kept) > KEPT:
                        self._kept.popitem(last=False)
                return kept
        finally:
            self._places.release()


def heats_of(request: Request) -> Heats:
    heats: Heats = request.app.state.heats
    return heats


@router.get(
    "/items/{id}/why",
    summary="Where an image answers a query, as a WebP to lay over it: clear there, dark elsewhere",
    response_class=Response,
    responses={
        200: {"content": {"image/webp": {}}},
        400: {"description": "The query has nothing that a picture could answer"},
        404: {"description": "There is no such image"},
        410: {"description": "The file or the query picture is gone"},
        503: {"description": "Too many wait; Retry-After says for how long"},
    },
)
def get_heat(
    id: ItemId,
    request: Request,
    library: Served,
    uploads: UploadsHere,
    heats: Annotated[Heats, Depends(heats_of)],
    q: Annotated[str, InAddress(max_length=MAX_TEXT, description="The query.")] = "",
    like: Annotated[
        int | None, InAddress(ge=1, le=MAX_ID, description="The id of an item to be like.")
    ] = None,
    picture: Annotated[
        str | None, InAddress(max_length=64, description="The name of an uploaded query picture.")
    ] = None,
) -> Response:
    item = image_of(library, id)
    asked = Asked(q.strip(), like=like, picture=picture or None)
    key = _key(item, library.encoder.space.digest, asked)
    if f'"{key}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=cached(f'"{key}"'))

    def make() -> bytes:
        query, _ = question_of(uploads, asked)
        side = WINDOWS * library.encoder.fit.side
        content = decoding.plain(lambda: content_of(item), side)
        return painted(library.heat(query, content), item)

    return Response(heats.get(key, make), media_type="image/webp", headers=cached(f'"{key}"'))


def painted(heat: Heat, item: Item) -> bytes:
    """Paint heat as WebP in the shape of the picture: a veil that clears where it answers.

    What is usual in the picture keeps a quarter of its light, so that it can be made out.
    """
    most = max(float(heat.max()), LEAST)
    rows, columns = heat.shape
    width, height = item.width or columns, item.height or rows
    share = HEAT_SIDE / max(width, height)
    size = max(1, round(width * share)), max(1, round(height * share))
    light = ((heat / most).clip(-1, 1) + 1) / 2
    small = Image.fromarray(np.square(light).astype(np.float32))
    level = np.asarray(small.resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    veil = Image.new("RGB", size, VEIL)
    veil.putalpha(Image.fromarray((DENSEST * (1 - level)).round().astype(np.uint8)))
    packed = io.BytesIO()
    veil.save(packed, "WEBP", quality=80)
    return packed.getvalue()


def _key(item: Item, space: str, asked: Asked) -> str:
    told = f"{item.digest} {space} {asked.parameters}"
    return hashlib.blake2b(told.encode("utf-8", "replace"), digest_size=16).hexdigest()
