"""The application that serves pages and API of one library: ``create_app(library)``."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match, Mount, Route
from starlette.types import Scope

from searchx.errors import SearchxError
from searchx.search import Library
from web import api, completion, heat, pictures, state, surveys, thumbnails
from web.answers import HERE, failure, status_of
from web.assistants import Assistants
from web.completion import Values
from web.front import MOST_AT_ONCE, Front, Log
from web.guard import Guard, secured
from web.heat import Heats
from web.loading import Loading
from web.metrics import Metrics
from web.pages import duplicates, explore, language, login, reference, results, upkeep, viewer
from web.pictures import Uploads
from web.tries import Tries
from web.waiting import Waits

THREADS = 64  # most of them wait for a vector; the library lets few of them work at a time
PAGES = (explore, duplicates, results, viewer, upkeep, reference, login, language)


@dataclass(frozen=True, slots=True)
class Service:
    """How an application is run."""

    log: Log | None = None  # told of each request; None: of none
    log_queries: bool = False
    most_at_once: int = MOST_AT_ONCE
    shared: Path | None = None  # a folder for what the processes of one service share
    failed: Callable[[SearchxError], None] | None = None  # told when the model cannot be had
    loaded: Callable[[], None] | None = None  # told when no query has to wait any more


class _Route(Route):
    """Is found in the scope by who counts requests, as FastAPI's own routes are."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}


class _Mount(Mount):
    """Likewise."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}


def create_app(
    library: Library,
    *,
    token: str | None = None,
    allowed_hosts: Collection[str] = (),
    allowed_origins: Collection[str] = (),
    service: Service | None = None,
) -> FastAPI:
    """Make the application that serves one library.

    With a ``token``, each request needs it as bearer token or as the cookie that /login sets.
    Requests pass for localhost, for any address, and for the names in ``allowed_hosts``
    ("*" for all names). Pages of ``allowed_origins``, such as "https://photos.example", may read
    the answers and send requests, never with the cookie; "*" stands for all of them. When it
    starts, it loads the model in the background.
    """
    service = service or Service()
    loading, metrics = Loading(library, service.failed, service.loaded), Metrics(library)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = THREADS
        loading.start()
        yield

    app = FastAPI(
        title="searchx",
        version=_version(),
        description="Search a library of images and texts by meaning.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.library = library
    app.state.uploads = Uploads(shared=service.shared)
    app.state.loading = loading
    app.state.metrics = metrics
    app.state.heats = Heats()
    app.state.values = Values(library)
    app.state.token = token
    app.state.waits = Waits()
    app.include_router(api.router)
    app.include_router(state.router)
    app.include_router(surveys.router)
    app.include_router(pictures.router)
    app.include_router(heat.router)
    app.include_router(thumbnails.router)
    app.include_router(completion.router)
    for one in PAGES:
        app.include_router(one.router)
    app.router.routes.append(_Route("/mcp", Assistants(library)))
    static = StaticFiles(directory=HERE / "static")
    app.router.routes.append(_Mount("/static", static, name="static"))
    app.state.tries = Tries()
    app.add_middleware(
        Guard,
        token=token,
        allowed_hosts=allowed_hosts,
        allowed_origins=allowed_origins,
        tries=app.state.tries,
    )
    if allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(allowed_origins),
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("Authorization", "Content-Type"),
            expose_headers=("ETag", "Retry-After"),
        )
    app.add_middleware(
        Front,
        metrics=metrics,
        log=service.log,
        with_queries=service.log_queries,
        most=service.most_at_once,
    )
    _answer_errors(app)
    return app


def _answer_errors(app: FastAPI) -> None:
    """Answer each error with one line, as JSON or as a page.

    On the event loop: where all threads are at work this needs none.
    """

    @app.exception_handler(SearchxError)
    async def failed(request: Request, error: SearchxError) -> Response:
        return failure(request, status_of(error), str(error), type(error).__name__)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        line = error.detail
        if error.status_code == 404 and line == "Not Found":
            line = f"there is nothing at {request.url.path}"
        if error.status_code == 405 and line == "Method Not Allowed":
            allowed = (error.headers or {}).get("Allow", "another method")
            line = f"{request.method} is not taken at {request.url.path}; use {allowed}"
        answer = failure(request, error.status_code, line)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def unusable(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        said = str(first["msg"])
        if first["type"] == "extra_forbidden":
            said = "there is no such parameter here; see /docs for those that there are"
        return failure(request, 422, f"{name}: {said}")

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        line = "searchx failed on this request; the server's output has the details"
        return secured(failure(request, 500, line))


def _version() -> str:
    try:
        return version("searchx")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
