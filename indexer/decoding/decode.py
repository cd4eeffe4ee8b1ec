"""The job of one worker: from a file to pictures fitted to the encoder and to texts, as a stream.

Nothing here knows torch, SQL or FAISS. A corpus is streamed whatever its size; any other file is
read whole, within a limit.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from indexer.about.metadata import embedded
from indexer.about.sidecars import read as read_sidecars
from indexer.datasets.corpora import Columns, Row, rows
from indexer.files import Found, Problem
from indexer.formats import Form
from indexer.prose.texts import Extract, extract
from indexer.refusals import NotNow, Refused
from searchx.contents import open_regular
from searchx.errors import UnreadableImage
from searchx.fitting import Fit
from searchx.identity import digest_bytes
from searchx.pictures.images import measure, read_picture
from searchx.records import Metadata, Pixels, Shape

MAX_BYTES: Final[dict[Form, int]] = {"image": 512 << 20, "text": 64 << 20}  # a corpus is streamed
CHUNK: Final = 16 << 20  # bytes read at once, so that a slow disk is not taken for a hang


IsKnown: TypeAlias = Callable[[str], bool]  # is there a vector for the image of this digest?


@dataclass(frozen=True, slots=True)
class Task:
    """A file to be read, and for a corpus the columns that the user named."""

    found: Found
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture: a file, or a row of a corpus."""

    digest: str  # hex BLAKE2b-256 of its bytes
    pixels: Pixels | None  # None where its vector is known
    width: int  # upright, in full size; 0 where a known picture's header does not tell
    height: int
    fragment: str = ""
    metadata: Metadata | None = None
    subject: str = ""  # the key by which texts name it


@dataclass(frozen=True, slots=True)
class End:
    """The last word on a file: what it was when it was read, and what went wrong."""

    size: int  # bytes
    mtime_ns: int
    companions: str = ""
    problem: Problem | None = None
    problems: tuple[Problem, ...] = ()  # of its sidecars
    note: str = ""  # what was left out of it
    starved: bool = False  # the problem is want of memory


Content: TypeAlias = Shot | Extract | End


def read(
    task: Task,
    fit: Fit,
    is_known: IsKnown,
    *,
    alive: Callable[[], None] = lambda: None,
    memory: int = 0,
) -> Iterator[Content]:
    """Give what is in a file, its ``End`` last. Raises only what ``is_known`` raises.

    A picture is decoded unless ``is_known`` says that its vector is there. ``alive`` is called
    while work goes on that yields nothing. ``memory``: the bytes that this process may take; what
    needs more is refused until it changes, while without a limit it may be better next time.
    """
    reading = _Reading(task, fit, _told_apart(is_known), alive)
    problem: Problem | None = None
    starved = False
    try:
        yield from reading.contents()
    except _AskingFailedError as failed:
        raise failed.error from None
    except Exception as error:
        starved = isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError)
        reason, lasting = _wanting(memory) if starved else _reason(error)
        problem = Problem(task.found.path, reason, lasting)
    yield reading.end(problem, starved)


def shape_of(width: int, height: int) -> Shape | None:
    """Say how a picture stands; None where its size is not known."""
    if not (width and height):
        return None
    if width == height:
        return "square"
    return "landscape" if width > height else "portrait"


class _Reading:
    """One file while it is read: what was learned of it stays here for its ``End``."""

    def __init__(self, task: Task, fit: Fit, is_known: IsKnown, alive: Callable[[], None]) -> None:
        self._found = task.found
        self._columns = task.columns
        self._fit = fit
        self._is_known = is_known
        self._alive = alive
        self._size = task.found.size
        self._mtime_ns = task.found.mtime_ns
        self._problems: tuple[Problem, ...] = ()
        self._left_out = 0
        self._first_left_out = ""
        self._missing = 0  # pictures that rows name
        self._first_missing = ""

    def contents(self) -> Iterator[Shot | Extract]:
        if self._found.form == "image":
            return self._image()
        return self._text() if self._found.form == "text" else self._corpus()

    def end(self, problem: Problem | None, starved: bool) -> End:
        notes = []
        if self._left_out:
            notes.append(f"rows left out: {self._left_out}; first: {self._first_left_out}")
        if self._missing:
            notes.append(
                f"rows that name a picture that is not there: {self._missing}; "
                f"first: {self._first_missing}; their texts stand alone"
            )
        note = "; ".join(notes) if problem is None else ""
        return End(
            self._size,
            self._mtime_ns,
            self._found.companions,
            problem,
            self._problems,
            note,
            starved,
        )

    def _image(self) -> Iterator[Shot | Extract]:
        path = self._found.path
        shot, captions = self._shot(self._bytes(), path, "", path)
        mine = shot.metadata or Metadata()
        words = ", ".join(mine.keywords)
        if self._found.sidecars:
            metadata, texts, problems = read_sidecars(self._found.sidecars, mine, path)
            self._problems = tuple(problems)
            shot = replace(shot, metadata=metadata)
        else:
            texts = []
        yield shot
        for caption in captions:
            yield from _captions((caption,), "keywords" if caption == words else "caption", path)
        for text in texts:
            yield replace(text, subject=path)

    def _text(self) -> Iterator[Shot | Extract]:
        suffix = os.path.splitext(self._found.path)[1].lower()
        yield from extract(self._bytes(), suffix)

    def _corpus(self) -> Iterator[Shot | Extract]:
        path = self._found.path
        with open_regular(path) as file:
            before = os.fstat(file.fileno())
        self._size, self._mtime_ns = before.st_size, before.st_mtime_ns
        is_bare = True
        for row in rows(path, self._columns, self._leave_out):
            for content in self._row(row):
                is_bare = False
                yield content
        if _state(os.stat(path)) != _state(before):
            raise NotNow(_CHANGED)
        if is_bare:
            raise Refused(self._first_left_out or "there is neither text nor picture in it")

    def _row(self, row: Row) -> Iterator[Shot | Extract]:
        subject = row.image_path
        if row.missing:
            self._first_missing = self._first_missing or f"{row.fragment} ({row.missing})"
            self._missing += 1
        if row.image is not None:
            subject = f"{self._found.path}\0{row.fragment}"
            try:
                shot, captions = self._shot(row.image, "", row.fragment, subject)
            except Exception as error:  # a bad picture costs itself only
                self._leave_out(f"{row.fragment}: {_reason(error)[0]}")
                subject = None  # its texts stand alone
            else:
                yield _with_title(shot, row)
                yield from _captions(captions, row.fragment, subject)
        yield from _captions(row.texts, row.fragment, subject)

    def _leave_out(self, reason: str) -> None:
        self._first_left_out = self._first_left_out or reason
        self._left_out += 1
        self._alive()

    def _shot(
        self, data: bytes, name: str, fragment: str, subject: str
    ) -> tuple[Shot, tuple[str, ...]]:
        """Give a picture, its metadata with it, and the captions in its file."""
        digest = digest_bytes(data)
        pixels: Pixels | None = None
        if self._is_known(digest):
            form, width, height = measure(data)
        else:
            picture = read_picture(data, self._fit.side)
            form, width, height = picture.format, picture.width, picture.height
            pixels = self._fit(picture.image)
        metadata, captions = embedded(data, name)
        metadata = replace(
            metadata, format=form, bytes=len(data), orientation=shape_of(width, height)
        )
        return Shot(digest, pixels, width, height, fragment, metadata, subject), captions

    def _bytes(self) -> bytes:
        """Read the file, and learn the size and the time of change that belong to its bytes."""
        limit = MAX_BYTES[self._found.form]
        with open_regular(self._found.path) as file:
            before = os.fstat(file.fileno())
            if before.st_size > limit:
                raise Refused(f"larger than {limit >> 20} MiB")
            chunks, left = [], before.st_size + 1  # one more, to see that it has grown
            while left > 0 and (chunk := file.read(min(left, CHUNK))):
                chunks.append(chunk)
                left -= len(chunk)
                self._alive()
            after = os.fstat(file.fileno())
        if left != 1 or _state(after) != _state(before):
            raise NotNow(_CHANGED)
        self._size, self._mtime_ns = before.st_size, before.st_mtime_ns
        if not chunks:
            raise Refused("the file is empty")
        return b"".join(chunks)


class _AskingFailedError(BaseException):
    """Carries what ``is_known`` raised past the handlers of what is wrong with a file."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


_CHANGED: Final = "the file changed while it was read; the next run will read it again"


def _told_apart(is_known: IsKnown) -> IsKnown:
    def ask(digest: str) -> bool:
        try:
            return is_known(digest)
        except Exception as error:
            raise _AskingFailedError(error) from None

    return ask


def _state(about: os.stat_result) -> tuple[int, int, int, int]:
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


def _captions(texts: tuple[str, ...], fragment: str, subject: str | None) -> Iterator[Extract]:
    for text in texts:
        yield Extract(text, fragment=fragment, lines=False, subject=subject, atomic=True)


def _with_title(shot: Shot, row: Row) -> Shot:
    """Add what the row tells of its picture; it is nearer to the user than the picture's own."""
    mine = shot.metadata or Metadata()
    title, keywords = row.title or mine.title, row.keywords or mine.keywords
    return replace(shot, metadata=replace(mine, title=title, keywords=keywords))


def _wanting(memory: int) -> tuple[str, bool]:
    if memory:
        return f"it needs more than {memory >> 20} MiB of memory; export it smaller", True
    return "not enough memory to read it now", False


def _reason(error: Exception) -> tuple[str, bool]:
    """Say in one line what is wrong with the file, and whether it stays so until it changes."""
    if isinstance(error, Refused | UnreadableImage):
        return str(error), True
    if isinstance(error, NotNow):
        return str(error), False
    if isinstance(error, OSError) and error.errno is not None:
        return f"the file cannot be read ({error.strerror}); check it", False
    if isinstance(error, RecursionError):
        return "it is nested too deeply", True
    first_line = (str(error).splitlines() or [""])[0]
    detail = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
    return f"the file cannot be read ({detail})", True
