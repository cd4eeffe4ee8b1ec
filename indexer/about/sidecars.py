"""Files that tell of the picture beside them: photo.txt, photo.json, photo.xmp, photo.jpg.xmp.

Pictures of one stem, photo.jpg and photo.png, share photo.json, except where it says itself which
of them it is about: then it is that one's alone, as long as that one is there.

What a sidecar says goes before what stands in the picture; XMP before JSON; keywords of all are
joined. Files with the suffix .AAE hold edits of Apple's Photos, nothing to find a picture by, and
are no sidecars here.
"""

import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from indexer.about import xmp
from indexer.about.dates import Dated, first, with_zone_of
from indexer.about.facts import Facts, Place, captions, joined, keywords, place, texts, title
from indexer.files import Problem
from indexer.formats import form_of
from indexer.prose.texts import Extract, decode_text
from indexer.refusals import NotNow, Refused
from searchx.records import Metadata

Json: TypeAlias = dict[str, object]

MAX_BYTES: Final = 1 << 23
CAPTION_KEYS: Final = ("caption", "captions", "text", "texts", "description")
KEYWORD_KEYS: Final = ("keywords", "tags")
NAME_KEYS: Final = ("image", "image_path", "file_name", "filename", "file", "path", "title")
_EXTENSION: Final = re.compile(rb"SidecarForExtension\s*(?:=\s*[\"']|>)\s*(\w+)")  # photoshop's
_LOCAL: Final = ("exif", "exif-digitized", "xmp", "iptc")  # rules that give the time of the place
_ORDER: Final = (".xmp", ".json", ".txt")
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read(
    paths: Sequence[str], mine: Metadata, picture: str = ""
) -> tuple[Metadata, list[Extract], list[Problem]]:
    """Read the sidecars of the picture at a path; what another picture beside it has is left out.

    Gives the picture's metadata with theirs over it, their texts (``subject`` left to the
    caller), and what is wrong with which. A broken sidecar costs nothing but itself.
    """
    facts: list[Facts] = []
    extracts: list[Extract] = []
    problems: list[Problem] = []
    for path in sorted(paths, key=lambda one: (_ORDER.index(_suffix(one)), one)):
        try:
            data = _bytes(path)
            if picture and _is_of_another(data, _suffix(path), picture):
                continue
            told, written = _READERS[_suffix(path)](data, _name(path))
        except (Refused, NotNow) as error:
            problems.append(Problem(path, str(error), lasting=isinstance(error, Refused)))
            continue
        facts.append(told)
        extracts += written
    return _over(joined(facts), mine), _each_once(extracts), problems


def _suffix(path: str) -> str:
    return next((one for one in _ORDER if path.lower().endswith(one)), ".txt")


def _name(path: str) -> str:
    name = os.path.basename(path)
    return name.encode("utf-8", "replace").decode()


def _bytes(path: str) -> bytes:
    """Read a file of moderate size; never waits, as a pipe would make it do."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | _NO_WAIT), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Refused("not a file but a pipe, a socket or a device")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotNow(f"the file cannot be read ({error.strerror}); check it") from None
    if len(data) > MAX_BYTES:
        raise Refused(f"larger than {MAX_BYTES >> 20} MiB, which no sidecar is")
    return data


def _is_of_another(data: bytes, suffix: str, picture: str) -> bool:
    """Tell whether a sidecar names a picture of the same stem that is beside this one."""
    folder, name = os.path.split(picture)
    stem = name[: name.rfind(".")]
    for named in _named_in(data, suffix, stem):
        if named[: named.rfind(".")].casefold() == stem.casefold():
            is_mine = named.casefold() == name.casefold()
            return not is_mine and _has(folder, stem + named[named.rfind(".") :])
    return False


def _named_in(data: bytes, suffix: str, stem: str) -> Iterator[str]:
    """Give the names of files that a sidecar says it is about."""
    if suffix == ".xmp" and (found := _EXTENSION.search(data)):
        yield f"{stem}.{found[1].decode()}"
    if suffix == ".json":
        with suppress(ValueError, RecursionError, Refused):
            told = json.loads(decode_text(data).removeprefix("\ufeff"))
            for key in NAME_KEYS if isinstance(told, dict) else ():
                for value in _strings(told.get(key)):
                    yield value.replace("\\", "/").rpartition("/")[2].strip()


def _has(folder: str, name: str) -> bool:
    """Tell whether a picture is in a folder; its suffix may be written in another case."""
    at = name.rfind(".")
    return form_of(name) == "image" and any(
        os.path.isfile(os.path.join(folder, name[:at] + suffix))
        for suffix in {name[at:], name[at:].lower(), name[at:].upper()}
    )


def _of_text(data: bytes, name: str) -> tuple[Facts, list[Extract]]:
    text = decode_text(data) if data.strip() else ""
    return Facts(), [Extract(text, fragment=name, atomic=True)] if text.strip() else []


def _of_xmp(data: bytes, name: str) -> tuple[Facts, list[Extract]]:
    return _with_texts(xmp.facts(data), name)


def _of_json(data: bytes, name: str) -> tuple[Facts, list[Extract]]:
    if not data.strip():
        return Facts(), []
    try:
        told = json.loads(decode_text(data).removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        raise Refused("it is not JSON; write it again") from None
    if not isinstance(told, dict):
        return Facts(), []
    is_takeout = "photoTakenTime" in told or "googlePhotosOrigin" in told
    return _with_texts(_of_takeout(told) if is_takeout else _of_dataset(told), name)


_Reader: TypeAlias = Callable[[bytes, str], tuple[Facts, list[Extract]]]
_READERS: Final[dict[str, _Reader]] = {".txt": _of_text, ".json": _of_json, ".xmp": _of_xmp}


def _with_texts(facts: Facts, name: str) -> tuple[Facts, list[Extract]]:
    return facts, [Extract(text, fragment=name, lines=False, atomic=True) for text in texts(facts)]


def _of_dataset(told: Json) -> Facts:
    """Read what img2dataset, webdataset and downloaders write."""
    return Facts(
        title=title(next(_strings(told.get("title")), None)),
        keywords=keywords(
            word
            for key in KEYWORD_KEYS
            for text in _strings(told.get(key))
            for word in (text.split(",") if isinstance(told[key], str) else (text,))
        ),
        captions=captions(text for key in CAPTION_KEYS for text in _strings(told.get(key))),
    )


def _of_takeout(told: Json) -> Facts:
    """Read what Google Photos gives out. Its title is the name of the file: not a title."""
    seconds = _number(_inside(told.get("photoTakenTime"), "timestamp"))
    people = told.get("people")
    names = (_inside(one, "name") for one in (people if isinstance(people, list) else ()))
    return Facts(
        dates=_instant(seconds),
        place=_position(told.get("geoData")) or _position(told.get("geoDataExif")),
        keywords=keywords(name for name in names if isinstance(name, str)),
        captions=captions(_strings(told.get("description"))),
    )


def _instant(seconds: float) -> tuple[Dated, ...]:
    if not math.isfinite(seconds) or seconds == 0 or abs(seconds) > 1e11:
        return ()  # 0 stands for a time that is not known
    return (Dated(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds), "sidecar"),)


def _position(told: object) -> Place | None:
    altitude = _number(_inside(told, "altitude"))
    return place(
        _number(_inside(told, "latitude")),
        _number(_inside(told, "longitude")),
        altitude if altitude else None,  # 0 stands for a height that is not known
    )


def _inside(told: object, key: str) -> object:
    return told.get(key) if isinstance(told, dict) else None


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def _strings(value: object) -> Iterator[str]:
    """Give a text, or the texts of a list."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str):
            yield one


def _each_once(extracts: list[Extract]) -> list[Extract]:
    kept: dict[str, Extract] = {}
    for one in extracts:
        kept.setdefault(" ".join(one.text.split()), one)
    return list(kept.values())


def _over(told: Facts, mine: Metadata) -> Metadata:
    there = told.place
    date = _date(told, mine)
    return replace(
        mine,
        taken=date.when if date else mine.taken,
        taken_from=date.rule if date else mine.taken_from,
        latitude=there.latitude if there else mine.latitude,
        longitude=there.longitude if there else mine.longitude,
        altitude=there.altitude if there else mine.altitude,
        camera=told.camera or mine.camera,
        lens=told.lens or mine.lens,
        title=told.title or mine.title,
        rating=mine.rating if told.rating is None else told.rating,
        keywords=keywords((*told.keywords, *mine.keywords)),
    )


def _date(told: Facts, mine: Metadata) -> Dated | None:
    """Give the date of the sidecars; None where that of the picture stays.

    The same moment told twice keeps the fuller form: a sidecar in UTC and a camera's local time
    without a zone give the local time with its zone.
    """
    best = first(told.dates)
    if best is None or (best.rule == "gps" and mine.taken is not None):
        return None
    when, local = best.when, mine.taken
    if local is None or mine.taken_from not in (*_LOCAL, "gps"):
        return Dated(when, "sidecar")
    if (when.tzinfo is None) != (local.tzinfo is None):
        if when.tzinfo is None:
            same = local.replace(tzinfo=None)
            return None if abs(same - when) < timedelta(seconds=1) else Dated(when, "sidecar")
        return Dated(_local(local, when), "sidecar")
    return None if abs(local - when) < timedelta(seconds=1) else Dated(when, "sidecar")


def _local(local: datetime, instant: datetime) -> datetime:
    with_zone = with_zone_of(local, instant)
    return instant if with_zone.tzinfo is None else with_zone
