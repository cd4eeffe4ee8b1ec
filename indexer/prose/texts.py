"""From the bytes of a document to its text."""

from dataclasses import dataclass
from typing import Final

from indexer.prose.charsets import decode_text
from indexer.prose.hypertext import page_text
from indexer.prose.pdf import pdf_pages
from indexer.prose.sentences import groups
from indexer.prose.word import word_text
from indexer.refusals import Refused

__all__ = ["MAX_LETTERS", "MAX_PARAGRAPHS", "Extract", "decode_text", "extract"]

MAX_LETTERS: Final = 20_000_000  # of one document: twenty long books
MAX_PARAGRAPHS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Extract:
    r"""A text that was found in a file, as it is written there, its newlines as "\n"."""

    text: str
    fragment: str = (
        ""  # "" for a whole file, else "caption", "keywords", "photo.txt", "row 12", ...
    )
    page: int | None = None  # from 1
    lines: bool = True  # whether the number of a line means something to the user
    subject: str | None = None  # the key of the picture that this text belongs to
    atomic: bool = False  # a caption: one passage where it fits


def extract(data: bytes, suffix: str) -> list[Extract]:
    """Give the text of a document by the suffix of its name: one piece, or one for every page.

    What has no form of its own (.txt, .md, .rst) is read as plain text. Raises Refused when
    there is no text to be had; its message is the reason.
    """
    if not data:
        raise Refused("the file is empty")
    extracts = _extracts(data, suffix.lower())
    if sum(len(one.text) for one in extracts) > MAX_LETTERS:
        raise Refused(f"it holds more than {MAX_LETTERS:,} letters; split it into smaller files")
    if sum(1 for one in extracts for _ in groups(one.text)) > MAX_PARAGRAPHS:
        raise Refused(
            f"it has more than {MAX_PARAGRAPHS:,} paragraphs; split it into smaller files"
        )
    if not any(one.text.strip() for one in extracts):
        raise Refused("there is no text in it")
    return extracts


def _extracts(data: bytes, suffix: str) -> list[Extract]:
    if suffix == ".pdf":
        pages = pdf_pages(data, MAX_LETTERS)
        return [Extract(text, page=number, lines=False) for number, text in pages]
    if suffix == ".docx":
        return [Extract(word_text(data), lines=False)]
    if suffix in (".html", ".htm"):
        return [Extract(page_text(data), lines=False)]
    return [Extract(decode_text(data))]
