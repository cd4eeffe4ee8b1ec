"""The pictures of a library over HTTP: pictures for the screen, and the files themselves."""

import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from searchx.errors import BadInput
from searchx.fitting import Fit
from searchx.records import Item
from searchx.search import Library
from web import decoding
from web.decoding import DECODING
from web.lanes import PICTURES
from web.places import CHUNK, open_file

SIDES = (640, 1280, 2048, 4096)  # of pictures for the screen, longest side in pixels
PREVIEW_SIDE = 320
MAX_ID = 2**63 - 1  # ids are 64-bit; larger numbers are refused before SQLite sees them
KEPT_UPLOADS = 128 * 2**20  # bytes of query pictures held in memory
_SHOWN_INLINE = frozenset(
    {"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/bmp"}
)
_SUFFIXES = {
    "text/plain": ".txt",
    "image/jpeg": ".jpg",
    **{
        f"image/{name}": f".{name}"
        for name in ("png", "gif", "webp", "avif", "bmp", "tiff", "heic")
    },
}
_NAME = re.compile(r"[0-9a-f]{32}")  # of an upload
_FILE_POLICY = "default-src 'none'; sandbox"

router = APIRouter(tags=["items"])
ItemId = Annotated[int, InPath(ge=1, le=MAX_ID, description="The id of an item.")]
Side = Annotated[
    int,
    Query(ge=1, le=SIDES[-1], description="Pixels of its longest side; the next size is given."),
]


def served(request: Request) -> Library:
    """Give the library that this app was made for."""
    library: Library = request.app.state.library
    return library


def item_of(library: Library, id: int) -> Item:
    """Give an item of the library, or fail with 404."""
    try:
        return library.item(id)
    except BadInput as error:
        raise HTTPException(404, str(error)) from error


@router.get(
    "/items/{id}/picture",
    summary="A picture for the screen, as WebP, whatever the format of the file",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}}, 404: {}, 410: {}},
)
async def get_picture(
    id: ItemId, request: Request, library: Annotated[Library, Depends(served)], side: Side = 2048
) -> Response:
    item = await run_in_threadpool(image_of, library, id)
    side = next(one for one in SIDES if one >= side)  # few sizes, which browsers keep
    tag = f'"{item.digest[:32]}-{side}"'
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=cached(tag))
    content = await PICTURES.run(lambda: rendered(item, side))
    return Response(content, media_type="image/webp", headers=cached(tag))


@router.get(
    "/items/{id}/file",
    summary="The file of an image item as it was indexed, or the passage of a text item",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, 404: {}, 410: {}},
)
async def get_file(id: ItemId, library: Annotated[Library, Depends(served)]) -> Response:
    item = await run_in_threadpool(item_of, library, id)
    if item.kind == "image" and any(place.fragment for place in item.locations):
        return await PICTURES.run(lambda: _file_of(item))
    return await run_in_threadpool(_file_of, item)


def _file_of(item: Item) -> Response:
    if item.kind == "text":
        passage = (item.text or "").encode("utf-8", "replace")
        headers = _file_headers(item, True, "text/plain")
        return Response(passage, media_type="text/plain", headers=headers)
    with DECODING if any(place.fragment for place in item.locations) else nullcontext():
        file = open_file(item)  # from inside another file it comes through memory
    with ExitStack() as failing:
        failing.enter_context(file)
        headers = {"content-length": str(file.seek(0, os.SEEK_END))}
        file.seek(0)
        media_type = media_type_of(file.read(64))
        file.seek(0)
        headers |= _file_headers(item, media_type in _SHOWN_INLINE, media_type)
        answer = FileAnswer(file, media_type, headers)
        failing.pop_all()  # the answer closes it
    return answer


class FileAnswer(StreamingResponse):
    """Gives an open file and closes it, also when who asked is gone before the first byte."""

    def __init__(self, file: BinaryIO, media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(_chunks(file), media_type=media_type, headers=headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


def media_type_of(head: bytes) -> str:
    """Name the picture format that a file starts with; names of files are not believed."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(b"BM"):
        return "image/bmp"
    if head.startswith((b"II*\x00", b"MM\x00*")):
        return "image/tiff"
    if head[4:8] == b"ftyp":
        brands = head[8:40]
        return "image/avif" if b"avif" in brands or b"avis" in brands else "image/heic"
    return "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture that somebody asked with."""

    content: bytes  # fitted to the encoder: what was sent is not kept
    preview: bytes  # WebP

    @property
    def size(self) -> int:
        return len(self.content) + len(self.preview)


class Uploads:
    """The query pictures of late, in memory, so that a search by picture has an address.

    Holds at most ``limit`` bytes and drops the oldest first. Safe to use from many threads. In
    ``shared``, a folder of the service's own, other processes find what this one was sent.
    """

    def __init__(self, limit: int = KEPT_UPLOADS, shared: Path | None = None) -> None:
        self._limit = limit
        self._shared = shared
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, content: bytes, fit: Fit) -> str:
        """Keep a picture and give its name; raises UnreadableImage."""
        seen = decoding.preview(content, PREVIEW_SIDE)
        upload = Upload(decoding.fitted(content, fit), seen)
        name = hashlib.blake2b(content, digest_size=16).hexdigest()
        if self._shared is not None:
            _share(self._shared, name, upload, self._limit)
        self._keep(name, upload)
        return name

    def get(self, name: str) -> Upload:
        """Give a picture by name, or fail with 410."""
        with self._lock:
            upload = self._kept.get(name)
        if upload is None and self._shared is not None:
            upload = _shared(self._shared, name)
            if upload is not None:
                self._keep(name, upload)
        if upload is None:
            raise HTTPException(410, "this picture is no longer kept; choose it again")
        return upload

    def _keep(self, name: str, upload: Upload) -> None:
        with self._lock:
            self._kept[name] = upload
            self._kept.move_to_end(name)
            while sum(one.size for one in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)


def _share(folder: Path, name: str, upload: Upload, limit: int) -> None:
    """Write a picture where other processes find it; where that fails only this one has it."""
    with suppress(OSError):
        for suffix, content in ((".webp", upload.preview), (".query", upload.content)):
            beside = folder / f"{name}{suffix}.{os.getpid()}"
            beside.write_bytes(content)
            beside.replace(folder / f"{name}{suffix}")
        _forget_oldest(folder, limit)


def _forget_oldest(folder: Path, limit: int) -> None:
    """Remove the oldest pictures, each with its preview, until at most `limit` bytes are left."""
    files = sorted(folder.glob("*.query"), key=lambda one: one.stat().st_mtime)
    sizes = [one.stat().st_size + _size(one.with_suffix(".webp")) for one in files]
    total = sum(sizes)
    for file, size in list(zip(files, sizes, strict=True))[:-1]:
        if total <= limit:
            break
        total -= size
        file.unlink(missing_ok=True)
        file.with_suffix(".webp").unlink(missing_ok=True)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _shared(folder: Path, name: str) -> Upload | None:
    """Give what another process was sent."""
    if not _NAME.fullmatch(name):
        return None
    try:
        parts = [(folder / f"{name}{suffix}").read_bytes() for suffix in (".query", ".webp")]
    except OSError:
        return None
    return Upload(*parts)


def uploads_of(request: Request) -> Uploads:
    """Give the query pictures that this app keeps."""
    uploads: Uploads = request.app.state.uploads
    return uploads


UploadsHere = Annotated[Uploads, Depends(uploads_of)]


def image_of(library: Library, id: int) -> Item:
    """Give an image of the library, or fail with 404."""
    item = item_of(library, id)
    if item.kind != "image":
        raise HTTPException(404, f"item {id} is a text and has no picture")
    return item


def rendered(item: Item, side: int) -> bytes:
    """Decode an image item, as WebP, its longest side at most ``side``; fails as open_file."""
    return decoding.small(lambda: content_of(item), side)


def content_of(item: Item) -> bytes:
    """Read the file of an image item; fails as open_file."""
    with open_file(item) as file:
        return file.read()


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _file_headers(item: Item, inline: bool, media_type: str) -> dict[str, str]:
    name = Path(item.path).name
    if item.kind == "text" or item.locations[0].fragment:  # the path is that of something larger
        name = f"item-{item.id}{_SUFFIXES.get(media_type, '')}"
    disposition = "inline" if inline else "attachment"
    return {
        "content-disposition": f"{disposition}; filename*=utf-8''{quote(name, errors='replace')}",
        "content-security-policy": _FILE_POLICY,
        "cache-control": "private, no-cache",
    }


def cached(tag: str) -> dict[str, str]:
    return {"etag": tag, "cache-control": "private, max-age=86400"}
