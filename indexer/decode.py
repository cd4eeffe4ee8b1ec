"""From the bytes of a file to what can be embedded: an upright picture, or passages of text."""

import hashlib
import json
import os
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from PIL import Image

from indexer.files import Form, Found, Problem
from searchx.errors import UnreadableImage
from searchx.images import read_picture
from searchx.records import Kind, Pixels

PASSAGE_WORDS: Final = 60
MAX_BYTES: Final[dict[Form, int]] = {"image": 1 << 29, "prose": 1 << 26, "corpus": 1 << 31}
CAPTION_KEYS: Final = ("text", "texts", "caption", "captions")
_PASSAGE_LETTERS: Final = 8 * PASSAGE_WORDS  # so that scripts without spaces are cut as well
_SENTENCE: Final = r"\S.*?(?:[.!?\u2026](?=\s)|[\u3002\uff01\uff1f]|\Z)"

Prepare: TypeAlias = Callable[[Image.Image], Pixels]
IsKnown: TypeAlias = Callable[[Kind, str], bool]  # is there a vector for this digest?


@dataclass(frozen=True, slots=True)
class Part:
    """One searchable content of a file, ready to be embedded unless it is known already."""

    kind: Kind
    digest: str
    fragment: str = ""
    text: str | None = None  # for a text
    pixels: Pixels | None = None  # for an image; None where its vector is known
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that was read: its parts in their order, or the problem with it."""

    path: str
    size: int  # bytes
    mtime_ns: int
    parts: tuple[Part, ...] = ()
    problem: Problem | None = None
    note: str = ""  # what was left out of it


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text and the place where it begins."""

    text: str
    fragment: str


class _UnusableError(Exception):
    """The file cannot be used; the message is the reason."""


class _ChangingError(Exception):
    """The file cannot be used now, perhaps later; the message is the reason."""


def load(found: Found, prepare: Prepare, at_least: int, is_known: IsKnown) -> Loaded:
    """Read and decode one file. Safe to call from many threads; never raises for a bad file.

    A picture is prepared for the encoder unless ``is_known`` says that its vector is there.
    ``at_least`` is the side in pixels that the encoder sees.
    """
    size, mtime_ns = found.size, found.mtime_ns
    try:
        data, size, mtime_ns = _read(found)
        parts, note = _parts(found, data, prepare, at_least, is_known)
        return Loaded(found.path, size, mtime_ns, parts, note=note)
    except (UnreadableImage, _UnusableError, MemoryError) as error:
        if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
            problem = Problem(found.path, "not enough memory to read it now", lasting=False)
        else:
            problem = Problem(found.path, str(error), lasting=True)
    except (OSError, _ChangingError) as error:
        reason = getattr(error, "strerror", None)
        text = f"the file cannot be read ({reason}); check it" if reason else str(error)
        problem = Problem(found.path, text, lasting=False)
    return Loaded(found.path, size, mtime_ns, problem=problem)


def digest_bytes(data: bytes) -> str:
    """Give the identity of a picture: hex BLAKE2b-256 of its file."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def normalise(text: str) -> str:
    """Give the one form of a text: NFC, runs of white space as one space, no half characters."""
    whole = text.encode("utf-8", "replace").decode()
    return " ".join(unicodedata.normalize("NFC", whole).split())


def _parts(
    found: Found, data: bytes, prepare: Prepare, at_least: int, is_known: IsKnown
) -> tuple[tuple[Part, ...], str]:
    if found.form == "image":
        return (_image(data, prepare, at_least, is_known),), ""
    passages, note = split(found, data)
    return tuple(_text(passage) for passage in passages), note


def _image(data: bytes, prepare: Prepare, at_least: int, is_known: IsKnown) -> Part:
    digest = digest_bytes(data)
    if is_known("image", digest):
        return Part("image", digest)
    picture = read_picture(data, at_least)
    pixels = prepare(picture.image)
    return Part("image", digest, "", None, pixels, picture.width, picture.height)


def _text(passage: Passage) -> Part:
    return Part("text", digest_bytes(passage.text.encode()), passage.fragment, passage.text)


def _read(found: Found) -> tuple[bytes, int, int]:
    """Read a file and give its bytes with the size and time of change that belong to them."""
    with Path(found.path).open("rb") as file:
        before = os.fstat(file.fileno())
        if before.st_size > MAX_BYTES[found.form]:
            raise _UnusableError(f"larger than {MAX_BYTES[found.form] >> 20} MiB")
        data = file.read(before.st_size + 1)
        after = os.fstat(file.fileno())
    if len(data) != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
        raise _ChangingError("the file changed while it was read; the next run will read it again")
    if not data:
        raise _UnusableError("the file is empty")
    return data, before.st_size, before.st_mtime_ns


def split(found: Found, data: bytes) -> tuple[list[Passage], str]:
    """Give the passages of a text file, and a note on what was left out of it."""
    text = _decoded(data)
    if found.form == "corpus":
        passages, left_out = captions(text)
    else:
        passages, left_out = list(prose(text)), []
    if not passages:
        raise _UnusableError(left_out[0] if left_out else "there is no text in it")
    if not left_out:
        return passages, ""
    return passages, f"{found.path}: lines left out: {len(left_out)}; first: {left_out[0]}"


def captions(text: str) -> tuple[list[Passage], list[str]]:
    """Read a corpus of one JSON object a line: its captions, and what is wrong with which line."""
    passages: list[Passage] = []
    wrong: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            texts = _captions_of(json.loads(line))
        except (ValueError, RecursionError):
            wrong.append(f"line {number} is not JSON")
            continue
        if not texts:
            wrong.append(f'line {number} has no text under "text", "caption" or "captions"')
        passages += [Passage(one, f"line {number}") for one in texts]
    return passages, wrong


def _captions_of(row: object) -> list[str]:
    if not isinstance(row, dict):
        return []
    texts: list[str] = []
    for key in CAPTION_KEYS:
        value = row.get(key)
        listed = value if isinstance(value, list) else [value]
        texts += [normalise(one) for one in listed if isinstance(one, str)]
    return [text for text in dict.fromkeys(texts) if text]


def prose(text: str) -> Iterator[Passage]:
    """Cut a text into passages of at most 60 words, each with the line on which it begins.

    A paragraph is a passage; a longer one is cut where sentences end, a longer sentence where
    lines end, a longer line between words.
    """
    line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
    for paragraph in re.finditer(r"\S.*?(?=\n[^\S\n]*\n|\Z)", text, re.DOTALL):
        for start, end in _pieces(text, paragraph.start(), paragraph.end()):
            words = normalise(text[start:end])
            if words:
                yield Passage(words, f"line {bisect_right(line_starts, start)}")


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a paragraph: whole sentences together as far as they fit into one passage."""
    if _fits(text[start:end]):
        yield start, end
        return
    begin = reach = start
    for unit_start, unit_end in _units(text, start, end):
        if begin < reach and not _fits(text[begin:unit_end]):
            yield begin, reach
            begin = unit_start
        reach = unit_end
    yield begin, reach


def _units(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Give what a passage is made of: sentences; lines or words of a sentence that is too long."""
    for sentence in re.finditer(_SENTENCE, text[start:end], re.DOTALL):
        first = start + sentence.start()
        if _fits(sentence.group()):
            yield first, start + sentence.end()
            continue
        for line in re.finditer(r"\S[^\n]*", sentence.group()):
            yield from _line_units(line.group(), first + line.start())


def _line_units(line: str, start: int) -> Iterator[tuple[int, int]]:
    if _fits(line):
        yield start, start + len(line)
        return
    for word in re.finditer(rf"\S{{1,{_PASSAGE_LETTERS}}}", line):
        yield start + word.start(), start + word.end()


def _fits(text: str) -> bool:
    return len(text) <= _PASSAGE_LETTERS and len(text.split()) <= PASSAGE_WORDS


def _decoded(data: bytes) -> str:
    """Decode a text file: UTF-8, UTF-16 with its mark, else Windows-1252; refuse what is none."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")
    if re.search(r"[\x00-\x08\x0e-\x1a]", text[:65536]):
        raise _UnusableError("not a text but binary data")
    return text.replace("\r\n", "\n").replace("\r", "\n")
