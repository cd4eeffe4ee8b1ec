"""The text of a Word document (.docx)."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from indexer.prose.layout import Layout
from indexer.refusals import Refused

if TYPE_CHECKING:
    from docx.document import Document
    from lxml.etree import _Element

MAX_PARTS: Final = 10_000
MAX_UNPACKED: Final = 256 << 20  # bytes of all parts together; they are all held in memory
MAX_XML: Final = 64 << 20  # bytes of one part that is parsed
MAX_RATIO: Final = 200  # unpacked to packed; texts reach about 20
_SMALL: Final = 8 << 20  # bytes that are harmless whatever their ratio
_DAMAGED: Final = "not a Word document (.docx) that can be read, perhaps damaged"
_OLD_WORD: Final = b"\xd0\xcf\x11\xe0"  # OLE: .doc, and .docx with a password
_W: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK: Final = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# Said twice, deleted, or settings (which have tab stops under the name of a tab).
_LEFT_OUT: Final = {_FALLBACK, f"{_W}del", f"{_W}moveFrom", f"{_W}pPr"}
_GAPS: Final = {f"{_W}tc": "\t", f"{_W}tr": "\n", f"{_W}tbl": "\n\n"}
_SIGNS: Final = {
    f"{_W}tab": "\t",
    f"{_W}br": "\n",
    f"{_W}cr": "\n",
    f"{_W}noBreakHyphen": "-",
}


def word_text(data: bytes) -> str:
    """Give the paragraphs, lists and tables of a document in their order, then its notes.

    Paragraphs stand apart by an empty line; a heading and what follows it, the points of a
    list and the rows of a table do not. Raises Refused for what is none, or unpacks too far.
    """
    if data.startswith(_OLD_WORD):
        raise Refused("an old Word file, or one with a password; save it as .docx without one")
    from docx.opc.exceptions import OpcError
    from lxml.etree import LxmlError

    try:
        _check_size(data)
        return _read(data)
    except (zipfile.BadZipFile, zlib.error, OpcError, LxmlError) as error:
        raise Refused(_DAMAGED) from error
    except (LookupError, ValueError, TypeError, AttributeError, OSError, RuntimeError) as error:
        raise Refused(_DAMAGED) from error  # python-docx on parts that are missing or odd


def _read(data: bytes) -> str:
    import docx

    document = docx.Document(io.BytesIO(data))
    headings = {
        style.style_id
        for style in document.styles
        if (style.name or "").startswith(("Heading", "Title"))
    }
    parts = [_text_of(document.element.body, headings)]
    parts += [_text_of(root, headings) for root in _notes(document)]
    return "\n\n".join(part for part in parts if part)


def _check_size(data: bytes) -> None:
    """Refuse what would fill the memory. zipfile reads no more of a part than it declares."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = archive.infolist()
    unpacked = sum(part.file_size for part in parts)
    largest = max((part.file_size for part in parts if _is_xml(part.filename)), default=0)
    if len(parts) > MAX_PARTS or unpacked > MAX_UNPACKED or largest > MAX_XML:
        raise Refused(f"it unpacks to more than {MAX_UNPACKED >> 20} MiB or {MAX_PARTS:,} parts")
    if unpacked > max(_SMALL, MAX_RATIO * len(data)):
        raise Refused(f"it unpacks to more than {MAX_RATIO} times its size")


def _is_xml(name: str) -> bool:
    return name.lower().endswith((".xml", ".rels"))


def _notes(document: "Document") -> Iterator["_Element"]:
    """Give the roots of the foot- and endnotes."""
    from docx.oxml.parser import parse_xml
    from lxml.etree import LxmlError

    for relation in document.part.rels.values():
        if relation.reltype.endswith(("/footnotes", "/endnotes")) and not relation.is_external:
            try:
                yield parse_xml(relation.target_part.blob)
            except LxmlError:
                continue  # the text itself is there


def _text_of(root: "_Element", headings: set[str]) -> str:
    from lxml.etree import iterwalk

    layout = Layout()
    open_kinds: list[str] = []  # of the paragraphs that are open; text boxes stand inside others
    cells = 0
    walk = iterwalk(root, events=("start", "end"))
    for event, element in walk:
        tag = element.tag
        if event == "end":
            if tag == f"{_W}p":
                _end_paragraph(layout, open_kinds.pop(), cells > 0)
            elif tag in _GAPS:
                layout.part(_GAPS[tag])
                cells -= tag == f"{_W}tc"
        elif tag in _LEFT_OUT:
            walk.skip_subtree()
        elif tag == f"{_W}p":
            open_kinds.append(_kind(element, headings))
            if open_kinds[-1] != "point" and not cells:
                layout.part("\n\n")
        elif tag == f"{_W}tbl":
            layout.part("\n" if cells else "\n\n")
        elif tag == f"{_W}t":
            layout.write(element.text or "")
        elif tag in _SIGNS:
            layout.write(_SIGNS[tag])
        cells += event == "start" and tag == f"{_W}tc"
    return layout.text()


def _end_paragraph(layout: Layout, kind: str, is_in_cell: bool) -> None:
    if kind == "heading":
        layout.end_heading()
    elif is_in_cell:
        layout.part(" ")
    else:
        layout.part("\n" if kind == "point" else "\n\n")


def _kind(paragraph: "_Element", headings: set[str]) -> str:
    style = paragraph.find(f"{_W}pPr/{_W}pStyle")
    name = "" if style is None else str(style.get(f"{_W}val"))
    if name in headings:
        return "heading"
    if name.startswith("List") or paragraph.find(f"{_W}pPr/{_W}numPr") is not None:
        return "point"
    return "plain"
