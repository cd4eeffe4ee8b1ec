"""What makes two contents the same item: the digest of a picture's bytes, or of a text's words."""

import hashlib
import unicodedata

import numpy as np
from numpy.typing import NDArray

from searchx.records import Kind


def normalise(text: str) -> str:
    """Give the one form of a text: NFC, runs of white space as one space, no half characters."""
    whole = text.encode("utf-8", "replace").decode()
    return " ".join(unicodedata.normalize("NFC", whole).split())


def digest_text(text: str) -> str:
    """Give the identity of a text: hex BLAKE2b-256 of its normalised form."""
    return hashlib.blake2b(normalise(text).encode(), digest_size=32).hexdigest()


def digest_bytes(data: bytes) -> str:
    """Give the identity of a picture: hex BLAKE2b-256 of the bytes of its file."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def digest_pixels(pixels: NDArray[np.uint8]) -> str:
    """Give the identity of a picture that is in no file, from its size and its pixels."""
    shape = "x".join(map(str, pixels.shape)).encode()
    content = np.ascontiguousarray(pixels).tobytes()
    return hashlib.blake2b(shape + b"\0" + content, digest_size=32).hexdigest()


def digest_vector(kind: Kind, vector: bytes, id: str, text: str | None) -> str:
    """Give the identity of what was given as a vector: of its float16 row, its id and its text.

    By the id: two rows that happen to be equal are two items, as in any table.
    """
    parts = (kind.encode(), vector, id.encode("utf-8", "surrogateescape"), (text or "").encode())
    return hashlib.blake2b(b"\0".join(parts), digest_size=32).hexdigest()
