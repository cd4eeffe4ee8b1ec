"""The members of a webdataset archive: which file belongs to which sample, and where it is.

Only uncompressed archives, whose members can be read where they are.
"""

import os
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Final, cast

MAX_PICTURE: Final = 1 << 29  # bytes; the indexer takes no larger picture
_HEADER_BYTES: Final = 1 << 20  # a header may claim any length, and would be read at once
_BLOCK: Final = 512  # bytes; headers begin at multiples of it
_DAMAGED: Final = (ValueError, OverflowError, RecursionError, IndexError)
_NOT_SHOWN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar, by the sample that it belongs to."""

    key: str  # its path without the suffix
    suffix: str  # ".jpg", in lower case
    offset: int  # bytes, where its content begins
    size: int


def members(file: BinaryIO, wrong: Callable[[str], None]) -> Iterator[Member]:
    """Give the files of an open tar in their order, whose content is all there; reads headers only.

    Hidden names and names without a suffix are passed over. ``wrong`` is told of everything else
    that is left out. Raises tarfile.TarError for what is no tar at all.
    """
    whole = os.fstat(file.fileno()).st_size
    with _archive(file) as archive:
        reached = -1
        for info in _infos(archive, file, wrong):
            if info.size < 0 or info.offset <= reached:  # would lead round in a circle
                wrong(f"the archive is damaged at byte {info.offset}; the rest is left out")
                return
            reached = info.offset
            if info.isreg() and info.offset_data + info.size > whole:
                wrong("the archive ends early; what is there was read")
                return
            if member := _member(info, wrong):
                yield member


def _archive(file: BinaryIO) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=cast(BinaryIO, _Headers(file)), mode="r:")
    except _DAMAGED as error:
        raise tarfile.ReadError("a header that makes no sense") from error


class _Headers:
    """A file that refuses to read more at once than the headers of an archive need."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


def _infos(
    archive: tarfile.TarFile, file: BinaryIO, wrong: Callable[[str], None]
) -> Iterator[tarfile.TarInfo]:
    try:
        while (info := archive.next()) is not None:
            # Else all headers of a large archive stay in memory.
            archive.members = []  # type: ignore[attr-defined]
            yield info
    except tarfile.ReadError as error:
        early = "unexpected end" in str(error)
        wrong(_ending(early, archive.offset))
        return
    except (tarfile.TarError, *_DAMAGED):
        wrong(_ending(False, archive.offset))
        return
    file.seek(archive.offset)
    block = file.read(_BLOCK)  # tarfile takes a damaged header for the end
    if block.strip(b"\0") or len(block) < _BLOCK:
        wrong(_ending(len(block) < _BLOCK, archive.offset))


def _ending(early: bool, offset: int) -> str:
    if early:
        return "the archive ends early; what is there was read"
    return f"the archive is damaged at byte {offset}; the rest is left out"


def _member(info: tarfile.TarInfo, wrong: Callable[[str], None]) -> Member | None:
    name = _NOT_SHOWN.sub("\ufffd", info.name)
    path = PurePosixPath(name)
    if info.isdir() or path.name.startswith("."):
        return None
    if not info.isreg() or info.issparse():
        wrong(f"{name} is left out: a link or a special file")
    elif path.is_absolute() or ".." in path.parts:
        wrong(f"{name} is left out: its name leads out of the archive")
    elif info.size > MAX_PICTURE:
        wrong(f"{name} is left out: larger than {MAX_PICTURE >> 20} MiB")
    elif path.suffix:
        key = path.with_suffix("").as_posix()
        return Member(key, path.suffix.lower(), info.offset_data, info.size)
    return None
