"""The cookie of who has logged in: a signed date, so that any worker can check it."""

import hashlib
import hmac
import time
from typing import Final

COOKIE: Final = "searchx_session"
SECONDS: Final = 30 * 24 * 3600  # for which a login lasts


def session_of(token: str, now: float | None = None) -> str:
    """Give a cookie that stands for a token; the token cannot be read from it."""
    until = int(time.time() if now is None else now) + SECONDS
    return f"{until}.{_signature(token, until)}"


def is_session(given: str, token: str, now: float | None = None) -> bool:
    """Tell whether a cookie was made for this token and still holds."""
    until, _, signature = given.partition(".")
    if not (until.isascii() and until.isdigit() and len(until) < 16):
        return False
    is_ours = same(signature, _signature(token, int(until)))
    return is_ours and int(until) > (time.time() if now is None else now)


def same(given: str, expected: str) -> bool:
    """Compare two secrets in a time that tells nothing about where they differ."""
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def _signature(token: str, until: int) -> str:
    message = f"searchx session until {until}".encode("ascii")
    return hmac.new(_bytes(token), message, hashlib.sha256).hexdigest()


def _bytes(secret: str) -> bytes:
    """Spell a secret so that two that differ never look the same, also where it is no text."""
    return secret.encode("utf-8", "surrogatepass")
