"""Logging in with the token of the server, and logging out."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from web.answers import page
from web.guard import client_of, hurried
from web.phrases import language_of, say
from web.sessions import COOKIE, SECONDS, is_session, same, session_of
from web.tries import Tries

MAX_SECRET = 4096  # characters of what is tried

router = APIRouter(include_in_schema=False)


@router.get("/login")
async def login_page(request: Request, next: str = "/") -> Response:
    return _page(request, local(next))


@router.post("/login")
async def log_in(
    request: Request,
    token: Annotated[str, Form(max_length=MAX_SECRET)] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Set the cookie for who knows the token. On the event loop, as `Tries` wants it."""
    expected: str | None = request.app.state.token
    if expected is None:
        return RedirectResponse(local(next), 303)
    tries: Tries = request.app.state.tries
    if wait := tries.wait(client_of(request)):
        return hurried(request, wait)
    if not same(token.strip(), expected):
        tries.failed(client_of(request))
        return _page(request, local(next), say(language_of(request), "login.wrong"))
    return _led(request, local(next), session_of(expected), SECONDS)


@router.post("/logout")
async def log_out(request: Request) -> Response:
    answer = _led(request, "/login", "", 0)
    answer.headers["clear-site-data"] = '"cache", "storage"'  # pictures and queries of late
    return answer


def _page(request: Request, next: str, line: str = "") -> Response:
    expected: str | None = request.app.state.token
    known = expected is None or is_session(request.cookies.get(COOKIE, ""), expected)
    status = 401 if line else 200
    return page(request, "login.html", status, next=next, line=line, known=known)


def _led(request: Request, place: str, session: str, seconds: int) -> Response:
    """Lead to a place with a cookie that scripts, other sites and plain HTTP do not get to see."""
    answer = RedirectResponse(place, 303)
    is_secure = request.scope["scheme"] == "https"  # as a trusted proxy says
    answer.set_cookie(
        COOKIE, session, max_age=seconds, httponly=True, samesite="strict", secure=is_secure
    )
    return answer


def local(address: str) -> str:
    """Give an address on this server; one that leads elsewhere becomes the start page."""
    plain = address.isascii() and address.isprintable() and "\\" not in address
    return address if plain and address.startswith("/") and address[1:2] != "/" else "/"
