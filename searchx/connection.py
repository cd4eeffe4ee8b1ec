"""Talk to a server of searchx: JSON both ways, again where it is busy, and its errors as ours."""

import json
import time
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from searchx import errors
from searchx.documents import Document
from searchx.errors import BadInput, SearchxError, ServerError

_TRIES: Final = 5
_PAUSE: Final = 0.25  # seconds before the second try; each further one takes twice as long
_LONGEST_PAUSE: Final = 30.0
_BY_STATUS: Final[dict[int, type[SearchxError]]] = {400: BadInput, 404: BadInput, 422: BadInput}


class Connection:
    """A server that is asked. Safe to use from many threads. Raises BadInput for no address."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        self.url = _address(url)
        headers = {"accept": "application/json", "user-agent": "searchx"}
        headers |= {"authorization": f"Bearer {_secret(token)}"} if token else {}
        # No redirect is followed: nobody but the named server is told the token.
        self._client = httpx2.Client(base_url=self.url, headers=headers, timeout=timeout)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def got(self, path: str, **given: str | int | list[int] | None) -> Document:
        """Ask with GET; what is None is left out. Raises BadInput for what no address can hold."""
        named = {name: one for name, one in given.items() if one is not None}
        try:
            request = self._client.build_request("GET", path, params=named)
        except UnicodeEncodeError as error:
            raise BadInput(f"{error.object!a} holds signs that cannot be sent; write ?") from None
        return self._answered(request)

    def sent(self, path: str, document: dict[str, Any]) -> Document:
        """Ask with POST."""
        body = json.dumps(document, allow_nan=False).encode("ascii")  # half a pair survives as well
        headers = {"content-type": "application/json"}
        return self._answered(
            self._client.build_request("POST", path, content=body, headers=headers)
        )

    def _answered(self, request: httpx2.Request) -> Document:
        """Send a request, again where the server is busy; it only reads, so that does no harm."""
        pause = _PAUSE
        for last in (*[False] * (_TRIES - 1), True):
            try:
                response = self._client.send(request)
            except (httpx2.RemoteProtocolError, httpx2.ReadError) as error:
                if last:  # the connection was kept, and the server let go of it
                    raise self._no_server(error) from None
                continue
            except httpx2.HTTPError as error:
                raise self._no_server(error) from None
            if response.is_success:
                return self._document(response)
            if last or not _is_busy(response):
                break
            time.sleep(_pause(response, pause))
            pause *= 2
        raise self._refusal(response)

    def _document(self, response: httpx2.Response) -> Document:
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ServerError(f"{self.url} does not answer as searchx does; check the address")
        return found

    def _no_server(self, error: httpx2.HTTPError) -> ServerError:
        said = str(error) or type(error).__name__
        return ServerError(f"{self.url} does not answer ({said}); check the address, or try later")

    def _refusal(self, response: httpx2.Response) -> SearchxError:
        """Give the error that the library raised there, or one that fits the status."""
        problem = _problem(response)
        line = str(problem.get("detail") or f"HTTP {response.status_code}")
        named = getattr(errors, str(problem.get("error", "")), None)
        if isinstance(named, type) and issubclass(named, SearchxError):
            return named(line)
        kind = _BY_STATUS.get(response.status_code, ServerError)
        return kind(line if kind is BadInput else f"{self.url} refuses: {line}")


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise BadInput(f'"{url}" is no address of a server; write one as http://127.0.0.1:8000')
    return url.rstrip("/")


def _secret(token: str) -> str:
    if not token.isascii() or not token.isprintable():
        raise BadInput("the token holds signs that cannot be sent; use letters, digits and signs")
    return token


def _is_busy(response: httpx2.Response) -> bool:
    """Tell whether to ask again: not where a library cannot be used, which takes no moment."""
    return response.status_code == 503 and _problem(response).get("error") in (None, "Busy")


def _pause(response: httpx2.Response, usual: float) -> float:
    told = response.headers.get("retry-after", "")
    seconds = float(told) if told.isascii() and told.isdigit() else usual
    return min(seconds, _LONGEST_PAUSE)


def _problem(response: httpx2.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
