"""How often somebody may guess a secret: a few times at once, then slowly."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

AT_ONCE: Final = 10  # wrong guesses from one address before it has to wait
SECONDS_EACH: Final = 6.0  # until another one is allowed
_KEPT: Final = 10_000  # addresses remembered; who has not guessed for longest is forgotten first
_SHARED: Final = 64  # bits of an IPv6 address that its owner cannot choose


class Tries:
    """Counts wrong guesses by address. To be used from one thread, the event loop's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()  # when all guesses are forgiven

    def wait(self, address: str) -> float:
        """Give the seconds until this address may guess again; 0 where it may."""
        ahead = self._until.get(_owner(address), 0.0) - self._clock()
        return max(0.0, ahead - (AT_ONCE - 1) * SECONDS_EACH)

    def failed(self, address: str) -> None:
        """Take note of a wrong guess."""
        owner = _owner(address)
        begun = max(self._until.pop(owner, 0.0), self._clock())
        self._until[owner] = begun + SECONDS_EACH
        while len(self._until) > _KEPT:
            self._until.popitem(last=False)


def _owner(address: str) -> str:
    """Give what stands for one guesser: an IPv4 address, or the network of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found.packed, _SHARED), strict=False))
