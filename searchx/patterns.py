"""What the texts of the catalog must look like to fit a value that somebody typed.

Texts are compared as `folded` leaves them: accents joined to their letters, and without case in
any script.
"""

import os
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from searchx.filters import Is

_END: Final = "\0"  # of every text that is looked through; in no path
_ANY: Final = f"[^{_END}]"


def pattern_of(where: Is) -> re.Pattern[str] | None:
    """Give what the texts of a field must look like, each between two ends; None where nothing can.

    Every part between two * is looked for once, from the left, and never again: no value takes
    long to look for.
    """
    value = folded(where.value)
    if _END in value:
        return None
    begins, ends = _END, f"(?={_END})"
    match where.field:
        case "name" | "camera" | "lens" | "title":
            if value and not re.search(r"[*?]", value):
                return re.compile(re.escape(value))
            value = f"*{value}*"
        case "ext":
            value = value.removeprefix(".")
            begins = rf"{_END}\.*[^{_END}.]{_ANY}*\."
            return re.compile(begins + _glob(value, f"[^{_END}.]") + ends)
        case "path":
            begins += "" if value.startswith("/") else f"(?:{_ANY}*/)?"
        case "folder" | "source":
            begins += "" if value.startswith("/") else f"(?:{_ANY}*/)?"
            value, ends = value.rstrip("/"), f"(?=/|{_END})"
    return re.compile(begins + _glob(value, _ANY) + ends)


def _glob(value: str, any_one: str) -> str:
    # What is any text and some characters is those characters first: they are counted off once.
    value = re.sub(r"[*?]*\*[*?]*", lambda run: "?" * run[0].count("?") + "*", value)
    first, *others = (_fixed(part, any_one) for part in value.split("*"))
    if not others:
        return first
    found = "".join(f"(?>{any_one}*?{part})" for part in others[:-1])
    return f"{first}{found}{any_one}*{others[-1]}"


def _fixed(part: str, any_one: str) -> str:
    """Give what a part without * looks like; many characters that may be any are counted off."""
    part = re.escape(part).replace(r"\?", any_one)
    several = re.compile(rf"(?:{re.escape(any_one)}){{2,}}")
    return several.sub(lambda run: f"{any_one}{{{len(run[0]) // len(any_one)}}}", part)


def pattern_equal(value: str) -> re.Pattern[str] | None:
    """Give what the texts must look like that equal a value, each between two ends."""
    value = folded(value)
    return None if _END in value else re.compile(_END + _glob(value, _ANY) + f"(?={_END})")


def fitting_places(pattern: re.Pattern[str], texts: str | Sequence[str]) -> NDArray[np.intp]:
    """Give the places of the texts that fit; they may come as one, with ends between them."""
    if not isinstance(texts, str):
        if not texts:
            return np.empty(0, np.intp)
        texts = _END.join(one.replace(_END, " ") for one in texts)
    joined = f"{_END}{folded(texts)}{_END}"
    starts = np.fromiter((found.start() for found in pattern.finditer(joined)), np.intp)
    form, width = ("ascii", "u1") if joined.isascii() else ("utf-32-le", "<u4")  # a quarter of it
    ends = np.flatnonzero(np.frombuffer(joined.encode(form, "surrogatepass"), width) == 0)
    return np.unique(np.searchsorted(ends, starts, "right") - 1)


def folded(text: str) -> str:
    text = text.replace("\\", "/") if os.sep == "\\" else text
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())
