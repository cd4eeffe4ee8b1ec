"""A row of a corpus, and which of its columns mean what."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from indexer.refusals import Refused
from searchx.archives import MAX_PICTURE
from searchx.contents import IMAGE_COLUMNS, plain_name
from searchx.pictures.images import SUFFIXES

TEXT_COLUMNS: Final = (  # in this order; all that are there are read
    *("caption", "captions", "text", "texts", "txt", "sentence", "sentences"),
    *("alt", "alt_text", "description", "descriptions", "title", "prompt", "content", "body"),
)
KEYWORD_COLUMNS: Final = ("keywords", "keyword", "tags", "tag", "labels")
MAX_LINE: Final = 1 << 24  # characters of a line or a field; longer ones are left out
_LONGEST_PATH: Final = 4096
_NAMES_SHOWN: Final = 20
_NAMES_KEPT: Final = 50  # of all that turn up in a corpus whose rows differ


class NoSuchColumn(Refused):
    """A corpus has not the columns that the user named, or they hold something else."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one row of a corpus holds: texts, and at most one picture that they belong to."""

    fragment: str  # "line 12", "row 7", "sample 000012"
    texts: tuple[str, ...]  # each distinct one once, as it stands there, none without a word
    image: bytes | None = None  # the picture, where the corpus holds it itself
    image_path: str | None = None  # absolute, where it is a file beside the corpus that exists
    title: str | None = None
    keywords: tuple[str, ...] = ()
    missing: str = ""  # the picture file that it names and that is not there


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that the user named; what is empty is found by name."""

    text: tuple[str, ...] = ()
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The columns of one table that are read, by the names that they have there."""

    texts: tuple[str, ...] = ()
    images: tuple[str, ...] = ()  # the first one that gives a picture counts
    titles: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Give each column once."""
        return tuple(dict.fromkeys(self.texts + self.images + self.titles + self.keywords))


class Shapes:
    """Chooses for rows that may each have columns of their own, and notes which there were."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._names: tuple[str, ...] = ()
        self._chosen = Chosen()
        self._seen: dict[str, None] = {}
        self._lacking = missing((), columns)

    def choose(self, names: tuple[str, ...]) -> Chosen:
        """Choose among the columns of the next row."""
        if names != self._names:
            self._names = names
            self._chosen = choose(names, names, self._columns)
            self._lacking = [one for one in self._lacking if one in missing(names, self._columns)]
            self._seen.update(dict.fromkeys(names[: max(0, _NAMES_KEPT - len(self._seen))]))
        return self._chosen

    @property
    def is_complete(self) -> bool:
        """Say that each column that the user named was in some row."""
        return not self._lacking

    def finish(self) -> None:
        """Raise NoSuchColumn when a column that the user named was in no row."""
        if self._lacking and self._seen:
            raise no_such(tuple(self._seen), self._lacking)


def choose(texts: Sequence[str], images: Sequence[str], columns: Columns) -> Chosen:
    """Choose among the columns that may hold texts and those that may hold or name a picture.

    What the user named goes before what is found by name; a name that is not there is passed over
    here, see ``missing``. Names are compared without regard to case, blanks and hyphens; where
    two columns are alike, the exact name goes first.
    """
    return Chosen(
        texts=_find(texts, columns.text or TEXT_COLUMNS),
        images=_find(images, (columns.image,) if columns.image else IMAGE_COLUMNS),
        titles=_find(texts, ("title",)),
        keywords=_find(texts, KEYWORD_COLUMNS),
    )


def missing(names: Sequence[str], columns: Columns) -> list[str]:
    """Give the columns that the user named and that are not among these."""
    given = (*columns.text, columns.image) if columns.image else columns.text
    return [one for one in given if one and not _find(names, (one,))]


def no_such(names: Sequence[str], lacking: Sequence[str]) -> NoSuchColumn:
    """Give the reason for refusing a corpus without the columns that the user named."""
    return NoSuchColumn(f"it has no column {listed(lacking)}; it has: {listed(names)}")


def not_known(names: Sequence[str]) -> Refused:
    """Give the reason for refusing a corpus in which no column has a known name."""
    return Refused(
        "none of its columns is known to hold texts or pictures; name the columns with "
        f"--text-column or --image-column; it has: {listed(names)}"
    )


def listed(names: Sequence[str]) -> str:
    """Write names of columns in one line of bounded length."""
    shown = [" ".join(name.split())[:40] for name in names[:_NAMES_SHOWN]]
    return ", ".join(f'"{name}"' for name in shown) + (", ..." if len(names) > len(shown) else "")


def make_row(fragment: str, cells: Mapping[str, object], chosen: Chosen, folder: str) -> Row | str:
    """Give the row, or the reason why there is nothing in it to search for.

    A picture is bytes, {bytes, path}, or the path of a picture file: absolute, or below the
    ``folder`` of the corpus. A path where no such file is leaves the texts as they are.
    """
    texts = _distinct(cells, chosen.texts)
    image, path, reason = _picture(cells, chosen.images, folder)
    has_picture = image is not None or path is not None
    if not (texts or has_picture):
        return f"{fragment} {reason or 'has no text and no picture'}"
    titles = _distinct(cells, chosen.titles)
    title = " ".join(titles[0].split()) if titles else None
    words = tuple(_keywords(cells, chosen.keywords))
    missing = "" if has_picture else _missing(cells, chosen.images)
    return Row(fragment, texts, image, path, title, words, missing)


def _find(names: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(plain_name(name), []).append(name)
    found = [[one] if one in names else alike.get(plain_name(one), []) for one in wanted]
    return tuple(name for part in found for name in part)


def _distinct(cells: Mapping[str, object], names: Sequence[str]) -> tuple[str, ...]:
    every = [text for name in names for text in _strings(cells.get(name))]
    texts = [text for text in every if text and not text.isspace()]
    if len(texts) < 2:
        return tuple(texts)
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(" ".join(text.split()), text)
    return tuple(found.values())


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _keywords(cells: Mapping[str, object], names: Sequence[str]) -> dict[str, None]:
    """Give keywords in order, each once; one string may hold several."""
    found: dict[str, None] = {}
    for name in names:
        value = cells.get(name)
        parts = re.split("[,;|]", value) if isinstance(value, str) else _strings(value)
        found |= dict.fromkeys(word for part in parts if (word := " ".join(part.split())))
    return found


def _picture(
    cells: Mapping[str, object], names: Sequence[str], folder: str
) -> tuple[bytes | None, str | None, str]:
    """Give the bytes or the path of a row's picture, or what is wrong with it."""
    reason = ""
    for name in names:
        value = cells.get(name)
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes) and value:
            if len(value) <= MAX_PICTURE:
                return value, None, ""
            reason = f"holds a picture larger than {MAX_PICTURE >> 20} MiB"
        elif isinstance(value, str) and value.strip():
            if path := _picture_file(value.strip(), folder):
                return None, path, ""
            shown = " ".join(value.split())[:200]
            reason = reason or f"names a picture that is not there ({shown})"
    return None, None, reason


def _missing(cells: Mapping[str, object], names: Sequence[str]) -> str:
    """Give the first name of a picture file in these cells; it is known that none is there.

    An address on the web is none, and columns such as "path" may hold names of other files.
    """
    for name in names:
        value = cells.get(name)
        if isinstance(value, dict):
            value = value.get("path")
        if isinstance(value, str) and not _is_address(value) and _has_picture_suffix(value.strip()):
            return " ".join(value.split())[:200]
    return ""


def _picture_file(value: str, folder: str) -> str | None:
    """Give the absolute path of a picture file that a row names."""
    if len(value) > _LONGEST_PATH or _is_address(value):
        return None
    for written in (value, value.replace("\\", "/")):  # as Windows writes it
        relative = os.path.normpath(written)
        if relative == os.pardir or relative.startswith(os.pardir + os.sep):
            continue
        path = os.path.join(folder, relative)
        if _is_picture(path):
            return path
    return None


def _is_address(value: str) -> bool:
    return "://" in value or value.startswith("data:")


def _is_picture(path: str) -> bool:
    return _has_picture_suffix(path) and os.path.isfile(path)


def _has_picture_suffix(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in SUFFIXES
