"""The pages, and the application that serves them with the API: ``create_app(library)``."""

import secrets
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from searchx import records
from searchx.errors import BadInput, NoLibrary, SearchxError
from searchx.query import notice, parse
from searchx.records import Hit, Item, Kind, Target
from searchx.search import Library
from web import api, pictures
from web.answers import HERE, failure, page, status_of
from web.api import Served
from web.asked import Asked, asked, unfiltered
from web.guard import COOKIE, MAX_UPLOAD, Guard, same, secured, session_of
from web.pictures import ItemId, Uploads, item_of
from web.shapes import MAX_TEXT, How
from web.wording import weak_from

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


def uploads_of(request: Request) -> Uploads:
    uploads: Uploads = request.app.state.uploads
    return uploads


AskedHere = Annotated[Asked, Depends(asked)]
UploadsHere = Annotated[Uploads, Depends(uploads_of)]


@router.get("/")
def home(library: Served, uploads: UploadsHere, asked: AskedHere) -> Response:
    if asked.random is not None:
        return _sample_page(library, asked, asked.random)
    if not asked.anything:
        skipped = len(library.skipped())
        state = library.overview()
        return page("home.html", asked=asked, state=state, skipped=skipped, limits=_LIMITS)
    return _results_page(library, uploads, asked)


@router.post("/")
def ask_with_picture(
    uploads: UploadsHere,
    image: Annotated[UploadFile | None, File()] = None,
    q: Annotated[str, Form(max_length=MAX_TEXT)] = "",
    to: Annotated[Target, Form()] = "image",
) -> Response:
    """Take a picture and lead to the address of its results, which can be reloaded."""
    words = Asked(q.strip(), to)
    try:
        content = api.content_of(image)
        if content is None:
            return RedirectResponse(words.address, 303)
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


def _results_page(library: Library, uploads: Uploads, asked: Asked) -> Response:
    try:
        typed = parse(asked.q, files=False)
    except BadInput as error:
        return _failed_search(asked, error)
    try:
        answer = _answer(library, uploads, asked)
    except NoLibrary:
        answer = records.Answer(())  # the page says that nothing is indexed yet
    except (SearchxError, HTTPException) as error:
        return _failed_search(replace(asked, like=None, picture=None), error)  # it may be these
    return page(
        "results.html",
        asked=asked,
        typed=typed,
        target=typed.to or asked.to,
        answer=answer,
        weak_from=weak_from(answer, asked.after is None),
        wider=unfiltered(asked, typed),
        state=None if answer.hits else library.overview(),
        limits=_LIMITS,
    )


def _answer(library: Library, uploads: Uploads, asked: Asked) -> records.Answer:
    image = uploads.get(asked.picture).content if asked.picture is not None else None
    query = api.query_of(asked.q, image, asked.like)
    how = How(k=asked.k, after=asked.after, group=asked.group)
    return replace(api.find(library, query, how, asked.to), notice=notice(asked.q))


def _sample_page(library: Library, asked: Asked, seed: str) -> Response:
    """Show items at random; the address names the seed, so that it can be reloaded."""
    if not seed:
        return RedirectResponse(asked.at_random(str(secrets.randbelow(api.SEEDS))).address, 303)
    kind: Kind = "text" if asked.to == "text" else "image"
    try:
        where = parse(asked.q, files=False).where
        items = library.sample(asked.k, kind, where=where, seed=int(seed))
    except NoLibrary:
        items = []
    except SearchxError as error:
        return _failed_search(asked, error)
    hits = [Hit(item, 0.0) for item in items]
    state = None if hits else library.overview()
    return page("random.html", asked=asked, kind=kind, hits=hits, state=state, limits=_LIMITS)


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
    return page("failed_search.html", status, asked=asked, line=line, limits=_LIMITS)


def _local(address: str) -> str:
    """Give an address on this server; one that leads elsewhere becomes the start page."""
    plain = address.isascii() and address.isprintable() and "\\" not in address
    return address if plain and address.startswith("/") and address[1:2] != "/" else "/"


def _answer_errors(app: FastAPI) -> None:
    """Answer each error with one line, as JSON or as a page."""

    @app.exception_handler(SearchxError)
    def failed(request: Request, error: SearchxError) -> Response:
        return failure(request, status_of(error), str(error))

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        line = error.detail
        if error.status_code == 404 and line == "Not Found":
            line = f"there is nothing at {request.url.path}"
        answer = failure(request, error.status_code, line)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    def unusable(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return failure(request, 422, f"{name}: {first['msg']}")

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> Response:
        line = "searchx failed on this request; the server's output has the details"
        return secured(failure(request, 500, line))


def _version() -> str:
    try:
        return version("searchx")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
