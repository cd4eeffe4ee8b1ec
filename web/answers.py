"""How an answer leaves the server: a page, JSON, or a problem in one line."""

import json
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import HTTPConnection

from searchx.errors import (
    BadInput,
    LibraryError,
    LibraryFull,
    ModelError,
    SearchxError,
    SpaceMismatch,
    UnreadableImage,
)
from searchx.reasons import matched
from web.excerpts import beginning, caption_of, ending, excerpt, value_of
from web.phrases import NAMES, language_of, say
from web.sessions import COOKIE
from web.shapes import MAX_TEXT, MAX_UPLOAD
from web.sizes import shape_of, sources
from web.wording import (
    alternative,
    as_words,
    clock,
    coordinates,
    filtered,
    map_of,
    marked,
    moment,
    near,
    origin,
    shape,
    sized,
    spot,
    standing,
    stars,
    untold,
)

HERE = Path(__file__).resolve().parent
LIMITS = {"bytes": MAX_UPLOAD, "text": MAX_TEXT}
_STATUS: tuple[tuple[type[SearchxError], int], ...] = (
    (UnreadableImage, 422),
    (BadInput, 400),
    (LibraryFull, 507),
    (LibraryError, 503),
    (ModelError, 503),
    (SpaceMismatch, 409),
)


def page(request: HTTPConnection, name: str, status: int = 200, **context: object) -> HTMLResponse:
    """Render a template in the language of who asks; every value in it is escaped.

    Templates have `say` for the phrases of the interface, `language`, `limits`, whether who asks
    `has_session`, and `path` and `here`, where on this server the page is, without and with what
    it asks. File names may hold bytes that are no text; they are shown as question marks.
    """
    language = language_of(request)
    given: dict[str, object] = {"language": language, "say": partial(say, language)}
    given |= {"languages": NAMES, "limits": LIMITS, "has_session": COOKIE in request.cookies}
    given |= {"path": request.scope["path"], "here": _here(request)}
    markup = _templates().get_template(name).render(given | context)
    return HTMLResponse(markup.encode("utf-8", "replace"), status)


def document(content: object, status: int = 200, media_type: str = "application/json") -> Response:
    """Give JSON in ASCII, so that file names which are no text survive as escapes."""
    return Response(json.dumps(content).encode("ascii"), status, media_type=media_type)


def problem(status: int, line: str, error: object = None) -> Response:
    """Give the problem+json of RFC 9457 with one line that says what, which, and what to do.

    `error` is the type of searchx's own error, for programs.
    """
    content: dict[str, object] = {
        "type": "about:blank",
        "title": reason(status),
        "status": status,
        "detail": line,
    }
    content |= {"error": error} if error else {}
    return document(content, status, "application/problem+json")


def failure(request: HTTPConnection, status: int, line: str, error: str | None = None) -> Response:
    """Answer a request that failed: as a page to who reads pages, as problem+json to others.

    Below /api and /v1 nobody gets a page.
    """
    path: str = request.scope["path"]  # request.url fails on some Host headers
    if wants_page(request) and not path.startswith(("/api/", "/v1/", "/mcp")):
        answer: Response = page(request, "failure.html", status, title=reason(status), line=line)
    else:
        told = _as_openai(status, line, error) if path.startswith("/v1/") else error
        answer = problem(status, line, told)
    answer.headers["vary"] = "accept"
    return answer


def _as_openai(status: int, line: str, error: str | None) -> dict[str, object]:
    """Give what OpenAI's client shows of a problem."""
    return {"message": line, "type": error or reason(status), "param": None, "code": None}


def wants_page(request: HTTPConnection) -> bool:
    """Tell whether who asks is a browser on its way to a page."""
    return "text/html" in request.headers.get("accept", "")


def status_of(error: SearchxError) -> int:
    """Tell the HTTP status that fits an error of the library."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def reason(status: int) -> str:
    """Name a status in words."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _here(request: HTTPConnection) -> str:
    asked: bytes = request.scope["query_string"]
    path = quote(request.scope["path"], errors="replace")
    return path + ("?" + asked.decode("latin-1") if asked else "")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["file_name"] = lambda path: Path(path).name
    environment.filters["folder_of"] = lambda path: str(Path(path).parent)
    told = (
        *(sized, clock),
        *(moment, origin, coordinates, shape, stars, spot, alternative, untold, as_words, matched),
        *(standing, marked, filtered, near, map_of),
        *(excerpt, ending, beginning, value_of),
        *(caption_of, shape_of, sources),
    )
    for one in told:
        environment.filters[one.__name__] = one
    environment.filters["in_url"] = lambda text: quote(text, safe="", errors="replace")
    return environment
