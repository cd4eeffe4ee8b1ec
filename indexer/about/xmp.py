"""What XMP tells of a picture: a packet inside its file, or a sidecar file."""

import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Final
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from indexer.about.dates import Dated, written
from indexer.about.facts import (
    Facts,
    Place,
    camera,
    captions,
    keywords,
    lens,
    place,
    rating,
    rating_of_percent,
    title,
)
from indexer.refusals import Refused

MAX_BYTES: Final = 1 << 23
MAX_ELEMENTS: Final = 50_000
MAX_DEPTH: Final = 100

_RDF: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DC: Final = "{http://purl.org/dc/elements/1.1/}"
_XMP: Final = "{http://ns.adobe.com/xap/1.0/}"
_PHOTOSHOP: Final = "{http://ns.adobe.com/photoshop/1.0/}"
_EXIF: Final = "{http://ns.adobe.com/exif/1.0/}"
_EXIF_EX: Final = "{http://cipa.jp/exif/1.0/}"
_AUX: Final = "{http://ns.adobe.com/exif/1.0/aux/}"
_TIFF: Final = "{http://ns.adobe.com/tiff/1.0/}"
_LIGHTROOM: Final = "{http://ns.adobe.com/lightroom/1.0/}"
_DIGIKAM: Final = "{http://www.digikam.org/ns/1.0/}"
_MICROSOFT: Final = "{http://ns.microsoft.com/photo/1.0/}"
_IPTC_CORE: Final = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}"
_IPTC_EXT: Final = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
_LANGUAGE: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_FACES: Final = (  # who is in the picture, as region
    "{http://www.metadataworkinggroup.com/schemas/regions/}Name",
    "{http://ns.microsoft.com/photo/1.2/t/Region#}PersonDisplayName",
)
_LISTS: Final = tuple(_RDF + name for name in ("Bag", "Seq", "Alt"))
_DATES: Final = (
    _EXIF + "DateTimeOriginal",
    _PHOTOSHOP + "DateCreated",
    _XMP + "CreateDate",
    _EXIF + "DateTimeDigitized",
)
_CAPTIONS: Final = (
    _DC + "description",
    _PHOTOSHOP + "Headline",
    _IPTC_CORE + "AltTextAccessibility",
    _IPTC_CORE + "ExtDescrAccessibility",
    _TIFF + "ImageDescription",
    _EXIF + "UserComment",
)
_DEGREES: Final = re.compile(  # "48,12.5N", "48,12,30N"
    r"(\d{1,3}(?:\.\d+)?)(?:,(\d{1,2}(?:\.\d+)?))?(?:,(\d{1,2}(?:\.\d+)?))?([NSEW])", re.ASCII
)


def facts(packet: bytes) -> Facts:
    """Tell what an XMP packet says.

    Raises Refused where it is no XMP, or such that reading it would take much time or memory.
    """
    root = _tree(packet)
    told = _properties(root)
    return Facts(
        dates=tuple(_dates(told)),
        place=_place(told),
        camera=camera(_one(told, _TIFF + "Make"), _one(told, _TIFF + "Model")),
        lens=lens(_one(told, _AUX + "Lens") or _one(told, _EXIF_EX + "LensModel")),
        title=title(_one(told, _DC + "title")),
        rating=_rating(told),
        keywords=keywords(_words(told, root)),
        captions=captions(_one(told, name) for name in _CAPTIONS),
    )


class _BoundedTree(TreeBuilder):
    """Builds a tree of XML, and gives up where it grows large."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self.count += 1
        self.depth += 1
        if self.count > MAX_ELEMENTS or self.depth > MAX_DEPTH:
            raise Refused(f"its XMP has more than {MAX_ELEMENTS} elements or {MAX_DEPTH} levels")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self.depth -= 1
        return super().end(tag)


def _tree(packet: bytes) -> Element:
    if len(packet) > MAX_BYTES:
        raise Refused(f"its XMP is larger than {MAX_BYTES >> 20} MiB")
    parser = DefusedXMLParser(target=_BoundedTree(), forbid_dtd=True)
    try:
        parser.feed(packet.strip(b"\0 \t\r\n"))
        root = parser.close()
    except DefusedXmlException:
        raise Refused("its XMP defines entities, which XMP does not need") from None
    except (ParseError, ValueError, LookupError) as error:
        raise Refused(f"its XMP is not well formed ({error}); write it again") from None
    if not isinstance(root, Element) or next(root.iter(_RDF + "RDF"), None) is None:
        raise Refused("there is no XMP in it")
    return root


def _properties(root: Element) -> dict[str, list[str]]:
    """Give the values of each property of the picture; the first that is told of each."""
    told: dict[str, list[str]] = {}
    for rdf in root.iter(_RDF + "RDF"):
        for described in rdf:
            for name, value in described.items():
                told.setdefault(name, [value])
            for child in described:
                if values := list(_values(child)):
                    told.setdefault(child.tag, values)
    return told


def _values(element: Element) -> Iterator[str]:
    """Give the texts of a property: its own, or those of its list, the default language first."""
    listed = [line for child in element if child.tag in _LISTS for line in child]
    if not listed and element.text and element.text.strip():
        yield element.text
    listed.sort(key=lambda line: line.get(_LANGUAGE) != "x-default")
    for line in listed:
        if line.text and line.text.strip():
            yield line.text


def _one(told: dict[str, list[str]], name: str) -> str:
    return told.get(name, [""])[0]


def _words(told: dict[str, list[str]], root: Element) -> Iterator[str]:
    yield from told.get(_DC + "subject", ())
    for name, between in ((_LIGHTROOM + "hierarchicalSubject", "|"), (_DIGIKAM + "TagsList", "/")):
        for path in told.get(name, ()):
            yield from path.split(between)
    yield from told.get(_IPTC_EXT + "PersonInImage", ())
    yield from _faces(root.iter())


def _faces(elements: Iterable[Element]) -> Iterator[str]:
    for element in elements:
        if element.tag in _FACES and element.text:
            yield element.text
        for name in _FACES:
            if (who := element.get(name)) is not None:
                yield who


def _dates(told: dict[str, list[str]]) -> Iterator[Dated]:
    for name in _DATES:
        if when := written(_one(told, name)):
            yield Dated(when, "xmp")
    if fix := written(_one(told, _EXIF + "GPSTimeStamp")):
        yield Dated(fix if fix.tzinfo else fix.replace(tzinfo=UTC), "gps")


def _place(told: dict[str, list[str]]) -> Place | None:
    altitude = _number(_one(told, _EXIF + "GPSAltitude"))
    if _one(told, _EXIF + "GPSAltitudeRef").strip() == "1":
        altitude = -altitude
    return place(
        _degrees(_one(told, _EXIF + "GPSLatitude"), "NS"),
        _degrees(_one(told, _EXIF + "GPSLongitude"), "EW"),
        None if math.isnan(altitude) else altitude,
    )


def _degrees(text: str, sides: str) -> float:
    match = _DEGREES.fullmatch(text.strip())
    if match is None:
        return _number(text)
    if match[4] not in sides:
        return math.nan
    degrees = sum(float(match[1 + power] or 0) / 60.0**power for power in range(3))
    return -degrees if match[4] == sides[1] else degrees


def _number(text: str) -> float:
    """Read "12.5" or "25/2"; not a number where it is none."""
    top, _, bottom = text.strip()[:40].partition("/")
    try:
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        return math.nan


def _rating(told: dict[str, list[str]]) -> int | None:
    stars = rating(_number(_one(told, _XMP + "Rating")))
    if stars is not None:
        return stars
    return rating_of_percent(_number(_one(told, _MICROSOFT + "Rating")))
