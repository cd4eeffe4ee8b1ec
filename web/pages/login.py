"""Logging in with the token of the server."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from web.answers import page
from web.guard import COOKIE, same, session_of

router = APIRouter(include_in_schema=False)


@router.get("/login")
def login_page(request: Request, next: str = "/") -> Response:
    return page(request, "login.html", next=local(next), line="")


@router.post("/login")
def log_in(
    request: Request, token: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/"
) -> Response:
    expected: str | None = request.app.state.token
    if expected is not None and not same(token.strip(), expected):
        line = "this is not the token that the server was started with"
        return page(request, "login.html", 401, next=local(next), line=line)
    answer = RedirectResponse(local(next), 303)
    if expected is not None:
        answer.set_cookie(
            COOKIE,
            session_of(expected),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return answer


def local(address: str) -> str:
    """Give an address on this server; one that leads elsewhere becomes the start page."""
    plain = address.isascii() and address.isprintable() and "\\" not in address
    return address if plain and address.startswith("/") and address[1:2] != "/" else "/"
