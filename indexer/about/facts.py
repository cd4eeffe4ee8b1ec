"""What one block of metadata tells of a picture, cleaned and bounded, and how blocks are joined."""

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from indexer.about.dates import Dated

MAX_TITLE: Final = 1_000  # characters
MAX_CAPTION: Final = 10_000
MAX_CAPTIONS: Final = 50
MAX_KEYWORDS: Final = 100
MAX_KEYWORD: Final = 200
MAX_NAME: Final = 200  # of a camera or a lens

_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_FILE_NAME: Final = re.compile(  # "DCIM\100MEDIA\DJI_0001.JPG", "IMG_1234", "DSC00012"
    r"(?:.*[\\/])?[^\\/]*\.(?:jpe?g|png|hei[cf]|tiff?|webp|gif|dng|cr2|nef|arw|raf|orf|rw2|mp4|mov|psd)"
    r"|(?:img|dsc[fn]?|dji|pxl|mvimg|vid|image|p|gopr|sam|cimg|imgp)[_-]?\d+",
    re.IGNORECASE,
)
_MACHINE: Final = re.compile(
    r"\s*(?:\w+\s*[:=]\s*[\w.()\[\],-]*\s*;\s*){3,}.*|\s*[{<].*", re.DOTALL
)
_PLACEHOLDERS: Final = frozenset(  # what cameras and programs write where nobody wrote anything
    (
        *("olympus digital camera", "sony dsc", "samsung", "samsung camera pictures", "dcim"),
        *("default", "minolta digital camera", "konica minolta digital camera", "digital camera"),
        *("kodak digital still camera", "kodak digital camera", "exif_jpeg_picture", "jpeg image"),
        *("my beautiful picture", "camera", "dsc", "dig", "untitled", "none", "null", "unknown"),
        *("image-description", "imagedescription", "image description", "description", "ascii"),
        *("charset=ascii", "charset=unicode", "hisilicon", "polarr", "picsart", "lead", "binary"),
        *("processed with vsco", "untitled image", "created with gimp", "user comments", "title"),
        # Huawei and OnePlus write the name of the camera's mode
        *("cof", "hdr", "hdrpl", "rhdr", "vhdr", "sdr", "mde", "dav", "cav", "edf", "oznor"),
        *("ozedf", "ozmde", "oznorwo", "nor", "norwo", "fbt", "fptbty", "bty", "btf", "btfmdn"),
        *("rpt", "ptr", "srgb", "yetis", "burst"),
    )
)
_CORPORATE: Final = frozenset(
    (
        *("ag", "camera", "co", "company", "computer", "corp", "corporation", "electronics"),
        *("gmbh", "imaging", "inc", "international", "limited", "ltd", "optical", "technologies"),
        *("technology",),
    )
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture was taken."""

    latitude: float  # degrees, north positive
    longitude: float  # degrees, east positive
    altitude: float | None = None  # metres


@dataclass(frozen=True, slots=True)
class Facts:
    """What one block of metadata tells; None and empty where it tells nothing."""

    dates: tuple[Dated, ...] = ()
    place: Place | None = None
    camera: str | None = None
    lens: str | None = None
    title: str | None = None
    rating: int | None = None  # stars, 0 to 5; -1 for rejected
    keywords: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()


def joined(parts: Iterable[Facts]) -> Facts:
    """Join what several blocks tell: the first to tell goes first; words are collected."""
    known = tuple(parts)
    return Facts(
        dates=tuple(date for part in known for date in part.dates),
        place=next((part.place for part in known if part.place is not None), None),
        camera=next((part.camera for part in known if part.camera), None),
        lens=next((part.lens for part in known if part.lens), None),
        title=next((part.title for part in known if part.title), None),
        rating=next((part.rating for part in known if part.rating is not None), None),
        keywords=keywords(word for part in known for word in part.keywords),
        captions=captions(text for part in known for text in part.captions),
    )


def texts(facts: Facts) -> tuple[str, ...]:
    """Give the texts under which a picture can be found: title, captions, and all its keywords."""
    told = captions([facts.title or "", *facts.captions])
    words = ", ".join(facts.keywords)
    return (*told, words) if words and words not in told else told


def title(text: str | None) -> str | None:
    """Give a title as it is kept; None for an empty one, a placeholder or the name of a file."""
    clean = one_line(text or "", MAX_TITLE)
    return clean if says_something(clean) else None


def captions(given: Iterable[str]) -> tuple[str, ...]:
    """Give each caption once; the beginning of another one is left out, and so is what is empty."""
    kept: list[str] = []
    for text in given:
        clean = one_line(text, MAX_CAPTION)
        if not says_something(clean):
            continue
        folded = clean.casefold()
        if any(other.casefold().startswith(folded) for other in kept):
            continue
        kept = [other for other in kept if not folded.startswith(other.casefold())]
        kept.append(clean)
        if len(kept) == MAX_CAPTIONS:
            break
    return tuple(kept)


def keywords(given: Iterable[str]) -> tuple[str, ...]:
    """Give each keyword once, whatever its case, in the order and spelling of the first."""
    kept: dict[str, str] = {}
    for word in given:
        if (clean := one_line(word, MAX_KEYWORD)) and len(kept) < MAX_KEYWORDS:
            kept.setdefault(clean.casefold(), clean)
    return tuple(kept.values())


def one_line(text: str, limit: int) -> str:
    """Give a text in NFC, on one line, without control characters, at most ``limit`` long."""
    clean = _UNPRINTABLE.sub(" ", text[: 4 * limit])
    return " ".join(unicodedata.normalize("NFC", clean).split())[:limit].strip()


def says_something(text: str) -> bool:
    """Tell a text that a person wrote from what cameras and programs fill in."""
    return (
        any(letter.isalpha() for letter in text)
        and text.casefold().strip(" .") not in _PLACEHOLDERS
        and not _FILE_NAME.fullmatch(text[:MAX_TITLE])
        and not _MACHINE.fullmatch(text[:MAX_TITLE])
    )


def camera(maker: str, model: str) -> str | None:
    """Name a camera with its maker once: "NIKON D750", "Canon EOS R5"."""
    maker, model = one_line(maker, MAX_NAME), one_line(model, MAX_NAME)
    words = [word for word in re.split(r"[\s,.]+", maker) if word]
    plain = [*words[:1], *(word for word in words[1:] if word.casefold() not in _CORPORATE)]
    if any(model.casefold().startswith(word.casefold()) for word in plain):
        return model
    return one_line(" ".join((*plain, model)), MAX_NAME) or None


def lens(name: str) -> str | None:
    """Name a lens; None for a name without letters, such as "----"."""
    clean = one_line(name, MAX_NAME)
    is_named = any(letter.isalpha() for letter in clean) and clean.casefold() != "unknown"
    return clean if is_named and not clean.startswith("0.0 mm") else None


def place(latitude: float, longitude: float, altitude: float | None) -> Place | None:
    """Give a place; None where it is out of range, or (0, 0): what is written without a fix."""
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):  # false for nan as well
        return None
    if abs(latitude) < 1e-6 and abs(longitude) < 1e-6:
        return None
    is_height = altitude is not None and math.isfinite(altitude) and abs(altitude) < 1e6
    return Place(latitude, longitude, altitude if is_height else None)


def rating(stars: float) -> int | None:
    """Give stars from -1 (rejected) to 5."""
    return max(-1, min(5, round(stars))) if math.isfinite(stars) else None


def rating_of_percent(percent: float) -> int | None:
    """Give the stars that Windows writes as 1, 25, 50, 75 and 99 percent."""
    if not 0 < percent <= 100:
        return None
    return min(5, 1 + int(percent) // 20 if percent > 12 else 1)


def decoded(raw: bytes) -> str:
    """Decode a short text of EXIF or IPTC: UTF-8, also when cut inside a letter, else Latin.

    What IPTC says of its own encoding is not needed: UTF-8 is told from the others by its form.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        if error.start >= len(raw) - 3 and error.reason == "unexpected end of data":
            return raw[: error.start].decode()
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
