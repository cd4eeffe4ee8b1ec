"""Choosing the language of the interface."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from web.pages.login import local
from web.phrases import COOKIE, Language

YEAR = 365 * 24 * 3600  # seconds

router = APIRouter(include_in_schema=False)


@router.post("/language")
def choose(language: Annotated[Language, Form()], next: Annotated[str, Form()] = "/") -> Response:
    """Keep the language in a cookie, and go on where it was chosen."""
    answer = RedirectResponse(local(next), 303)
    answer.set_cookie(COOKIE, language, max_age=YEAR, httponly=True, samesite="lax")
    return answer
