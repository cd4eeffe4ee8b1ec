"""Keep a place in the order of hits: the next page begins after it, whatever came in meanwhile."""

import base64
import binascii
import hashlib
import math
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from searchx.errors import BadInput
from searchx.records import Ids

_PLACE: Final = struct.Struct(">dq8s")  # key, id, digest of what was asked
_CHECK: Final = 6  # bytes that tell a whole cursor from a cut or changed one


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last hit of a page: of equal keys the lower id comes first."""

    key: float
    id: int
    asked: bytes  # what `digest_of` gives for the query and all that changes its order

    def written(self) -> str:
        """Give the cursor as 40 characters that need no quoting in an address."""
        place = _PLACE.pack(self.key, self.id, self.asked)
        return base64.urlsafe_b64encode(place + _check(place)).decode("ascii")

    @classmethod
    def read(cls, text: str, asked: bytes) -> "Cursor":
        """Read a cursor; raises BadInput for one of another query, and one that is not whole."""
        place = _unpacked(text)
        key, id, digest = _PLACE.unpack(place)
        if digest != asked:
            raise BadInput("the cursor belongs to another query; ask for the first page again")
        return cls(key, id, digest)

    @staticmethod
    def readdressed(text: str, asked: bytes) -> str:
        """Give a cursor as one of another query that has the same hits; raises BadInput."""
        key, id, _ = _PLACE.unpack(_unpacked(text))
        return Cursor(key, id, asked).written()

    def precedes(self, keys: NDArray[np.float64], ids: Ids) -> NDArray[np.bool_]:
        """Tell which of some items come after this place, (n,)."""
        return np.asarray((keys < self.key) | ((keys == self.key) & (ids > self.id)))


def digest_of(asked: str) -> bytes:
    """Give the digest of a query in its one written form, 8 bytes."""
    return hashlib.blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _unpacked(text: str) -> bytes:
    try:
        content = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        content = b""
    place, check = content[: _PLACE.size], content[_PLACE.size :]
    # The alphabet with + and / is read as well: a place has one written form alone.
    is_whole = len(place) == _PLACE.size and base64.urlsafe_b64encode(content).decode() == text
    is_whole = is_whole and check == _check(place)
    if not is_whole or not math.isfinite(_PLACE.unpack(place)[0]):
        raise BadInput("the cursor is not whole; give the one that came with the last page")
    return place


def _check(place: bytes) -> bytes:
    return hashlib.blake2b(place, digest_size=_CHECK, person=b"searchx.cursor").digest()
