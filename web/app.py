"""The pages, and the application that serves them with the API: ``create_app(library)``."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, FastAPI, File, Form, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from searchx import records
from searchx.errors import BadInput, NoLibrary, SearchxError
from searchx.records import Hit, Item, Kind
from searchx.search import Library
from web import api, pictures
from web.answers import HERE, failure, page, status_of
from web.api import MAX_K, MAX_TEXT, Served, find
from web.guard import COOKIE, MAX_UPLOAD, Guard, same, secured, session_of
from web.pictures import MAX_ID, ItemId, Uploads, item_of

FIRST_HITS = 48
MORE_LIKE_ITEM = 12
PLACES_SHOWN = 50  # of one item
SKIPPED_SHOWN = 1000

router = APIRouter(include_in_schema=False)


def create_app(
    library: Library, *, token: str | None = None, allowed_hosts: Collection[str] = ()
) -> FastAPI:
    """Make the application that serves one library.

    With a ``token``, each request needs it as bearer token or as the cookie that /login sets.
    Requests pass for localhost, for any address, and for the names in ``allowed_hosts``
    ("*" for all names).
    """
    app = FastAPI(
        title="searchx",
        version=_version(),
        description="Search a library of images and texts by meaning.",
        docs_url=None,
        redoc_url=None,
    )
    app.state.library = library
    app.state.uploads = Uploads()
    app.state.token = token
    app.include_router(api.router)
    app.include_router(pictures.router)
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.add_middleware(Guard, token=token, allowed_hosts=allowed_hosts)
    _answer_errors(app)
    return app


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of a page asks for."""

    q: str = ""
    to: Kind = "image"
    like: int | None = None
    picture: str | None = None  # the name of an uploaded query picture
    k: int = FIRST_HITS

    @property
    def anything(self) -> bool:
        return bool(self.q) or self.like is not None or self.picture is not None

    def without_like(self) -> "Asked":
        return replace(self, like=None)

    def without_picture(self) -> "Asked":
        return replace(self, picture=None)

    def find(self, to: Kind) -> "Asked":
        return replace(self, to=to, k=FIRST_HITS)

    def more(self) -> "Asked":
        return replace(self, k=min(self.k * 2, MAX_K))

    @property
    def parameters(self) -> str:
        """Give the part of an address behind the question mark; defaults are left out."""
        parts: dict[str, str | int | None] = {
            "q": self.q or None,
            "like": self.like,
            "picture": self.picture,
            "to": None if self.to == "image" else self.to,
            "k": None if self.k == FIRST_HITS else self.k,
        }
        given = {name: value for name, value in parts.items() if value is not None}
        return urlencode(given, errors="replace")

    @property
    def address(self) -> str:
        return "/?" + self.parameters if self.parameters else "/"


def asked(
    q: Annotated[str, Query(max_length=MAX_TEXT)] = "",
    to: Kind = "image",
    like: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
    picture: Annotated[str | None, Query(max_length=64)] = None,
    k: Annotated[int, Query(ge=1, le=MAX_K)] = FIRST_HITS,
) -> Asked:
    """Read what is asked from an address."""
    return Asked(q.strip(), to, like, picture or None, k)


def uploads_of(request: Request) -> Uploads:
    uploads: Uploads = request.app.state.uploads
    return uploads


AskedHere = Annotated[Asked, Depends(asked)]
UploadsHere = Annotated[Uploads, Depends(uploads_of)]


@router.get("/")
def home(library: Served, uploads: UploadsHere, asked: AskedHere) -> Response:
    if not asked.anything:
        skipped = len(library.skipped())
        state = library.overview()
        return page("home.html", asked=asked, state=state, skipped=skipped, limits=_LIMITS)
    try:
        hits = _hits(library, uploads, asked)
    except NoLibrary:
        hits = []  # the page says that nothing is indexed yet
    except (SearchxError, HTTPException) as error:
        return _failed_search(asked, error)
    return page(
        "results.html",
        asked=asked,
        hits=hits,
        state=None if hits else library.overview(),
        has_more=len(hits) == asked.k < MAX_K,
        limits=_LIMITS,
    )


@router.post("/")
def ask_with_picture(
    uploads: UploadsHere,
    image: Annotated[UploadFile | None, File()] = None,
    q: Annotated[str, Form(max_length=MAX_TEXT)] = "",
    to: Annotated[Kind, Form()] = "image",
) -> Response:
    """Take a picture and lead to the address of its results, which can be reloaded."""
    words = Asked(q.strip(), to)
    content = api.content_of(image)
    if content is None:
        return RedirectResponse(words.address, 303)
    try:
        name = uploads.add(content)
    except SearchxError as error:
        return _failed_search(words, error)
    return RedirectResponse(replace(words, picture=name).address, 303)


@router.get("/pictures/{name}")
def query_picture(name: str, uploads: UploadsHere) -> Response:
    return Response(uploads.get(name).preview, media_type="image/webp")


@router.get("/items/{id}")
def item_page(id: ItemId, library: Served, asked: AskedHere) -> Response:
    item = item_of(library, id)
    try:
        alike = library.search(records.Query(like=id), MORE_LIKE_ITEM + 1, "image")
        line = ""
    except SearchxError as error:  # the item can be shown all the same
        alike, line = [], str(error)
    return page(
        "item.html",
        item=item,
        context=api.context_of(library, item),
        pictures=list(_items(library, item.pictures)),
        hits=[hit for hit in alike if hit.id != id][:MORE_LIKE_ITEM],
        line=line,
        asked=asked,
        places=PLACES_SHOWN,
        limits=_LIMITS,
    )


@router.get("/skipped")
def skipped_page(library: Served) -> Response:
    skipped = library.skipped()
    shown = skipped[:SKIPPED_SHOWN]
    return page("skipped.html", skipped=shown, count=len(skipped), asked=Asked(), limits=_LIMITS)


@router.get("/docs")
def docs(request: Request) -> Response:
    """Show the API from its own description; nothing is loaded from elsewhere."""
    app: FastAPI = request.app
    return page("docs.html", api=app.openapi())


@router.get("/login")
def login_page(next: str = "/") -> Response:
    return page("login.html", next=_local(next), line="")


@router.post("/login")
def log_in(
    request: Request, token: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/"
) -> Response:
    expected: str | None = request.app.state.token
    if expected is not None and not same(token.strip(), expected):
        line = "this is not the token that the server was started with"
        return page("login.html", 401, next=_local(next), line=line)
    answer = RedirectResponse(_local(next), 303)
    if expected is not None:
        answer.set_cookie(
            COOKIE,
            session_of(expected),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return answer


_LIMITS = {"bytes": MAX_UPLOAD, "text": MAX_TEXT}


def _hits(library: Library, uploads: Uploads, asked: Asked) -> list[Hit]:
    image = uploads.get(asked.picture).content if asked.picture is not None else None
    query = records.Query(text=asked.q, image=image, like=asked.like)
    return find(library, query, asked.k, asked.to)


def _items(library: Library, ids: Collection[int]) -> Iterator[Item]:
    for id in ids:
        with suppress(BadInput):  # removed since
            yield library.item(id)


def _failed_search(asked: Asked, error: SearchxError | HTTPException) -> Response:
    """Show what went wrong above the box, so that the question can be changed."""
    if isinstance(error, SearchxError):
        status, line = status_of(error), str(error)
    else:
        status, line = error.status_code, error.detail
    lasting = replace(asked, like=None, picture=None)  # what failed may be among these
    return page("failed_search.html", status, asked=lasting, line=line, limits=_LIMITS)


def _local(address: str) -> str:
    """Give an address on this server; one that leads elsewhere becomes the start page."""
    plain = address.isascii() and address.isprintable() and "\\" not in address
    return address if plain and address.startswith("/") and address[1:2] != "/" else "/"


def _answer_errors(app: FastAPI) -> None:
    """Answer each error with one line, as JSON or as a page."""

    @app.exception_handler(SearchxError)
    def failed(request: Request, error: SearchxError) -> Response:
        return failure(request.url.path, status_of(error), str(error))

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        line = error.detail
        if error.status_code == 404 and line == "Not Found":
            line = f"there is nothing at {request.url.path}"
        answer = failure(request.url.path, error.status_code, line)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    def unusable(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return failure(request.url.path, 422, f"{name}: {first['msg']}")

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> Response:
        line = "searchx failed on this request; the server's output has the details"
        return secured(failure(request.url.path, 500, line))


def _version() -> str:
    try:
        return version("searchx")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
