"""The text of a web page."""

import re
from typing import Final

from indexer.prose.charsets import decode_text
from indexer.prose.layout import Layout
from indexer.refusals import Refused

MAX_ELEMENTS: Final = 1_000_000  # some ten seconds of reading

_HEAD: Final = 4096  # bytes in which a page declares its encoding
_DECLARED: Final = re.compile(rb"""(?:<meta[^>]{0,200}?charset|<\?xml[^>]{0,100}?encoding)"""
    rb"""\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)  # fmt: skip
_SILENT: Final = {  # what is not shown as text, or is there for browsers without a feature
    *("script", "style", "template", "noscript", "svg", "math", "iframe", "object", "canvas"),
    *("audio", "video", "select", "datalist", "head"),
}
_PARAGRAPHS: Final = {
    *("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details"),
    *("dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header"),
    *("hr", "legend", "main", "nav", "ol", "p", "pre", "section", "summary", "table", "ul"),
}
_HEADINGS: Final = {"h1", "h2", "h3", "h4", "h5", "h6"}
_LINES: Final = {"li", "option", "tr"}
_CELLS: Final = {"td", "th"}
_AS_WRITTEN: Final = {"pre", "textarea"}


def page_text(data: bytes) -> str:
    """Give the title and the visible text of a page, paragraphs apart by an empty line.

    Deep nesting costs nothing: no tree is built. Raises Refused for what is not a text
    and for more than a million elements.
    """
    from lxml.etree import HTMLParser, LxmlError

    declared = _DECLARED.search(data[:_HEAD])
    text = decode_text(data, declared[1].decode("ascii", "ignore") if declared else "")
    reader = _Reader()
    parser = HTMLParser(target=reader, encoding="utf-8")
    try:
        parser.feed(text.encode("utf-8", "replace"))
        parser.close()
    except LxmlError:  # nothing in it that the parser takes for a page; what came before is kept
        pass
    return reader.text()


class _Reader:
    """Writes down what the parser meets."""

    def __init__(self) -> None:
        self._layout = Layout()
        self._title = Layout()
        self._has_title = False
        self._is_in_title = False
        self._silent = 0  # depth inside an element that is not shown
        self._as_written = 0
        self._elements = 0

    def text(self) -> str:
        parts = (self._title.text(), self._layout.text())
        return "\n\n".join(part for part in parts if part)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise Refused(
                f"it has more than {MAX_ELEMENTS:,} elements; split it into smaller files"
            )
        if tag == "title" and not self._has_title:
            self._is_in_title = self._has_title = True
        if self._silent or tag in _SILENT or _is_hidden(attributes):
            self._silent += 1
            return
        self._space(tag)
        self._as_written += tag in _AS_WRITTEN
        if tag == "br":
            self._layout.break_line()
        elif tag == "img":
            self._layout.write_flowing(f" {attributes.get('alt', '')} ")

    def end(self, tag: str) -> None:
        if tag == "title":
            self._is_in_title = False
        if self._silent:
            self._silent -= 1
            return
        self._as_written -= tag in _AS_WRITTEN
        if tag in _HEADINGS:
            self._layout.end_heading()
        else:
            self._space(tag)

    def data(self, text: str) -> None:
        if self._is_in_title:
            self._title.write_flowing(text)
        elif self._silent:
            return
        elif self._as_written and text.strip():
            self._layout.write(text)
        else:
            self._layout.write_flowing(text)

    def close(self) -> None:
        """Nothing is left to do; lxml asks for it."""

    def _space(self, tag: str) -> None:
        if tag in _PARAGRAPHS or tag in _HEADINGS:
            self._layout.part("\n\n")
        elif tag in _LINES:
            self._layout.part("\n")
        elif tag in _CELLS:
            self._layout.part("\t")


def _is_hidden(attributes: dict[str, str]) -> bool:
    style = attributes.get("style", "")
    return "hidden" in attributes or "display:none" in style.replace(" ", "").lower()
