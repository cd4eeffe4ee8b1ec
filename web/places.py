"""Opening the file of an item: only what was indexed is ever read, wherever a path leads by now."""

import hashlib
import os
import stat
import tempfile
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final, cast

from fastapi import HTTPException

from searchx.archives import MAX_PICTURE
from searchx.contents import candidates, open_regular
from searchx.errors import BadInput
from searchx.records import Item, Location

CHUNK: Final = 2**18  # bytes read at once
_IN_MEMORY: Final = 2**23  # bytes of a picture out of another file; a larger one waits on disk


def open_file(item: Item) -> BinaryIO:
    """Open a file that holds exactly the content that was indexed, at its start.

    A picture inside another file, such as a row of a parquet file, comes as a file of its own.
    Wherever a path leads by now, other content is never given out: the digest decides. A path
    that leads out of its source by a link is not even read unless it leads to the very file that
    the indexer read. Fails with 410 when no location holds the content any more, and with 404
    for what was never in a file.
    """
    for place in item.locations:
        if place.external is not None or not _is_as_indexed(place):
            continue
        file = _unpacked(place, item.digest) if place.fragment else _open_regular(place.path)
        if file is None:
            continue
        if _holds(file, item.digest):
            return file
        file.close()
    if item.is_fileless:
        raise HTTPException(404, f"item {item.id} was added by a program and is in no file")
    raise HTTPException(
        410,
        f"{item.path} is not there or has changed since it was indexed; "
        'run "searchx index" on its folder again',
    )


def _is_as_indexed(place: Location) -> bool:
    """Tell, without opening it, whether a file may be the one that was indexed.

    The indexer follows links, also out of a source. Such a file is taken for the same while it has
    the size and the time of change that it had; one within its source while it may hold the
    content at all. Devices, pipes and what the kernel makes up under /proc are no such files.
    """
    try:
        about = Path(place.path).stat()
        real, source = os.path.realpath(place.path), os.path.realpath(place.source)
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(about.st_mode) or about.st_size == 0:
        return False
    if real == source or real.startswith(source.rstrip(os.sep) + os.sep):
        is_whole = not place.fragment and place.stamp is not None
        return not is_whole or about.st_size == cast(tuple[int, int], place.stamp)[0]
    return place.stamp == (about.st_size, about.st_mtime_ns)


def _unpacked(place: Location, digest: str) -> BinaryIO | None:
    """Give the picture inside another file that has this digest; None where it is no more."""
    try:
        with closing(candidates(place)) as contents:
            for content in contents:
                if hashlib.blake2b(content, digest_size=32).hexdigest() == digest:
                    file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the caller closes it
                    file.write(content)
                    file.seek(0)
                    return cast(BinaryIO, file)
    except (BadInput, OSError):
        return None
    return None


def _open_regular(path: str) -> BinaryIO | None:
    """Open a regular file; None for anything else. Never waits, as for a named pipe."""
    try:
        file = open_regular(path)
    except (OSError, ValueError):
        return None
    if not 0 < os.fstat(file.fileno()).st_size <= MAX_PICTURE:
        file.close()
        return None
    return file


def _holds(file: BinaryIO, digest: str) -> bool:
    """Tell whether a file has this digest; reads no more than it is large."""
    computed = hashlib.blake2b(digest_size=32)
    left = MAX_PICTURE
    try:
        while left > 0 and (chunk := file.read(CHUNK)):
            computed.update(chunk)
            left -= len(chunk)
        file.seek(0)
    except OSError:
        return False
    return computed.hexdigest() == digest
