"""Text put together from pieces of a document, with gaps that passages can be cut at."""

from typing import Final

_GAPS: Final = ("", " ", "\t", "\n", "\n\n")  # the weaker first


class Layout:
    """What was written so far. Of the gaps between two pieces only the strongest is kept."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._gap = ""
        self._is_after_heading = False

    def write(self, text: str) -> None:
        """Add a piece as it is."""
        if not text:
            return
        if self._pieces:
            self._pieces.append(self._gap)
        self._pieces.append(text)
        self._gap = ""
        self._is_after_heading = False

    def write_flowing(self, text: str) -> None:
        """Add a piece whose white space means no more than one space."""
        words = " ".join(text.split())
        if not words or text[0].isspace():
            self.part(" ")
        self.write(words)
        if words and text[-1].isspace():
            self.part(" ")

    def part(self, gap: str) -> None:
        """Leave a gap before the next piece; after a heading none wider than one line."""
        if self._is_after_heading and gap == "\n\n":
            gap = "\n"
        self._gap = max(self._gap, gap, key=_GAPS.index)

    def break_line(self) -> None:
        """Begin a new line; twice in a row, a new paragraph."""
        self.part("\n\n" if self._gap == "\n" else "\n")

    def end_heading(self) -> None:
        """Keep what comes next in the paragraph of the heading that was written."""
        self.part("\n")
        self._is_after_heading = bool(self._pieces)

    def text(self) -> str:
        """Give all of it."""
        return "".join(self._pieces)
