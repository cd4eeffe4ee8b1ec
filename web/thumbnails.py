"""Small pictures in a few sizes: made on first sight, then kept in the library.

Beside them a preview of a few pixels is kept, small enough to stand in the page itself.
"""

import base64
import os
import tempfile
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from searchx.records import Item
from searchx.search import Library
from web import decoding
from web.lanes import PICTURES
from web.pictures import ItemId, cached, image_of, rendered, served
from web.sizes import SIDES

USUAL: Final = 480
PREVIEW_SIDE: Final = 16
_SIDE: Final = "Pixels of its longest side; the next size is given."

router = APIRouter(tags=["items"])


@router.get(
    "/items/{id}/thumbnail",
    summary="A small picture of an image item, as WebP",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}}, 404: {}, 410: {}},
)
async def get_thumbnail(
    id: ItemId,
    request: Request,
    library: Annotated[Library, Depends(served)],
    side: Annotated[int, Query(ge=1, le=SIDES[-1], description=_SIDE)] = USUAL,
) -> Response:
    item = await run_in_threadpool(image_of, library, id)
    side = next(one for one in SIDES if one >= side)  # few sizes, which are kept
    tag = f'"{item.digest[:32]}-{side}"'
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=cached(tag))
    content = await run_in_threadpool(_read, _kept(item, library.directory, side))
    if not content:
        content = await PICTURES.run(lambda: small(item, library.directory, side))
    return Response(content, media_type="image/webp", headers=cached(tag))


def small(item: Item, directory: Path, side: int = USUAL) -> bytes:
    """Give the thumbnail of an image item; made on first sight, then kept in the library."""
    kept = _kept(item, directory, side)
    found = _read(kept)
    if found:
        return found
    larger = (_read(_kept(item, directory, one)) for one in SIDES if one > side)
    source = next((one for one in larger if one), b"")
    made = decoding.small(lambda: source, side) if source else rendered(item, side)
    keep(kept, made)
    if not _read(preview := _kept(item, directory, PREVIEW_SIDE)):
        keep(preview, decoding.small(lambda: made, PREVIEW_SIDE))
    return made


def preview(item: Item, directory: Path) -> str:
    """Give the preview of an image item as a data: address; empty until it was seen once."""
    content = _read(_kept(item, directory, PREVIEW_SIDE))
    return "data:image/webp;base64," + base64.b64encode(content).decode() if content else ""


def _kept(item: Item, directory: Path, side: int) -> Path:
    return directory / "thumbnails" / item.digest[:2] / f"{item.digest}-{side}.webp"


def _read(kept: Path) -> bytes:
    """Read what is kept; nothing where it is not there, or not all there: RIFF says its length."""
    try:
        webp = kept.read_bytes()
    except OSError:
        return b""
    whole = webp[:4] == b"RIFF" and int.from_bytes(webp[4:8], "little") + 8 == len(webp)
    return webp if whole else b""


def keep(place: Path, content: bytes) -> None:
    """Keep a file for next time; where the library cannot be written it is made again."""
    beside = ""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(dir=place.parent, suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(beside).replace(place)
    except OSError:
        if beside:
            Path(beside).unlink(missing_ok=True)
