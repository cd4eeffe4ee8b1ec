"""The text of a PDF, page by page."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from indexer.refusals import Refused

if TYPE_CHECKING:
    import pypdfium2

MAX_PAGES: Final = 20_000
_NEEDS_PASSWORD: Final = 4  # FPDF_ERR_PASSWORD
_JOINED: Final = dict.fromkeys((0x02, 0xFFFE))  # where a word was hyphenated at the end of a line


def pdf_pages(data: bytes, max_letters: int) -> Iterator[tuple[int, str]]:
    """Give the number (from 1) and the text of every page that holds text.

    A page that cannot be read is passed over. Raises Refused when the document cannot be
    opened, has no page with text, or has more pages or letters than are read.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise Refused(_reason(error)) from error
    try:
        yield from _pages(document, max_letters)
    finally:
        document.close()


def _pages(document: "pypdfium2.PdfDocument", max_letters: int) -> Iterator[tuple[int, str]]:
    if len(document) > MAX_PAGES:
        raise Refused(f"it has more than {MAX_PAGES:,} pages; split it into smaller files")
    letters = 0
    for number in range(len(document)):
        text = _page_text(document, number, max_letters - letters)
        letters += len(text)
        if text:
            yield number + 1, text
    if not letters:
        raise Refused("it holds no text, perhaps only scanned pages; run a text recognition on it")


def _reason(error: Exception) -> str:
    if getattr(error, "err_code", None) == _NEEDS_PASSWORD:
        return "it is protected with a password; save a copy without one"
    return "not a PDF that can be read, perhaps damaged"


def _page_text(document: "pypdfium2.PdfDocument", number: int, max_letters: int) -> str:
    import pypdfium2

    try:
        page = document[number]
        shown = page.get_textpage()
        if shown.count_chars() > max_letters:
            raise Refused("it holds too much text; split it into smaller files")
        text: str = shown.get_text_range()
        shown.close()
        page.close()
    except pypdfium2.PdfiumError:
        return ""
    return text.translate(_JOINED).replace("\r\n", "\n").replace("\r", "\n").strip()
