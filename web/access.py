"""Who may ask a server that others can reach, as the command line says it."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from searchx.errors import BadInput

SHORT: Final = 16  # characters; a shorter token can be guessed
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask. Raises BadInput, in one line, for a name, origin or address that is none."""

    token: str | None = None
    hosts: Sequence[str] = ()  # names that the server is asked by; without any, see `names`
    origins: Sequence[str] = ()  # of pages elsewhere that may read the answers
    proxies: Sequence[str] = ()  # addresses and networks of proxies that are believed

    def __post_init__(self) -> None:
        for host in self.hosts:
            _check_host(host)
        for origin in self.origins:
            _check_origin(origin)
        for proxy in self.proxies:
            _check_network(proxy)

    @property
    def names(self) -> Sequence[str]:
        """Give the names that are answered for.

        Who knows the token may use any name where none is given: a page elsewhere that misuses
        one does not know it.
        """
        return self.hosts or (("*",) if self.token else ())


def is_this_machine(host: str) -> bool:
    """Tell whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_host(host: str) -> None:
    if not _HOST.fullmatch(host):
        raise BadInput(
            f"--allow-host {host}: write a name alone, such as photos.example, without "
            "scheme and port"
        )


def _check_origin(origin: str) -> None:
    try:
        parts = urlsplit(origin)
        is_origin = f"{parts.scheme}://{parts.netloc}" == origin and bool(parts.hostname)
    except ValueError:
        is_origin = False
    if origin != "*" and not (is_origin and origin.isascii() and "@" not in origin):
        raise BadInput(
            f"--allow-origin {origin}: write it as browsers send it, such as https://photos.example"
        )


def _check_network(proxy: str) -> None:
    try:
        ipaddress.ip_network(proxy)
    except ValueError:
        raise BadInput(
            f"--trust-proxy {proxy}: write the address of the proxy, such as 127.0.0.1, or its "
            "network, such as 10.0.0.0/8"
        ) from None
