"""What a file is by its name: the one table of what searchx reads, and what tells of a picture."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from searchx.pictures.images import SUFFIXES as IMAGE_SUFFIXES

Form: TypeAlias = Literal["image", "text", "corpus"]  # how a file is read
Kind: TypeAlias = Literal["image", "text", "note", "aside", "corpus"]  # as the walk sorts names

SIDECAR_SUFFIXES: Final = (".txt", ".json", ".xmp")  # of files that tell of the picture beside them
TEXT_SUFFIXES: Final = (".txt", ".md", ".rst", ".html", ".htm", ".pdf", ".docx")
CORPUS_SUFFIXES: Final = (".jsonl", ".csv", ".tsv", ".parquet", ".tar")


@dataclass(frozen=True, slots=True)
class Format:
    """A row of the table: what a kind of file is called and how it is read."""

    name: str
    form: Form
    suffixes: tuple[str, ...]  # lower case; upper case in a name is the same
    reading: str  # one line for the user


FORMATS: Final = (
    Format("JPEG", "image", (".jpg", ".jpeg", ".jpe", ".jfif"), "the picture, CMYK too"),
    Format("MPO", "image", (".mpo",), "the first picture"),
    Format("PNG", "image", (".png", ".apng"), "the picture, up to 16 bits, or its clearest frame"),
    Format("WebP", "image", (".webp",), "the picture, or its clearest frame"),
    Format("AVIF", "image", (".avif", ".avifs"), "the picture, or its clearest frame"),
    Format("HEIC, HEIF", "image", (".heic", ".heif", ".hif"), "the main picture"),
    Format("GIF", "image", (".gif",), "the picture, or its clearest frame"),
    Format("TIFF", "image", (".tif", ".tiff"), "the first page that is no preview, up to 32 bits"),
    Format("BMP", "image", (".bmp", ".dib"), "the picture"),
    Format("JPEG 2000", "image", (".jp2", ".j2k", ".j2c", ".jpx", ".jpf"), "the picture"),
    Format("JPEG XL", "image", (".jxl",), "the picture"),
    Format("Photoshop", "image", (".psd",), "the picture that it keeps of all layers together"),
    Format("PNM", "image", (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"), "the picture"),
    Format("QOI", "image", (".qoi",), "the picture"),
    Format("TGA", "image", (".tga",), "the picture"),
    Format("ICO", "image", (".ico",), "the largest picture"),
    Format(
        "camera raw",
        "image",
        (".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".raf", ".orf", ".rw2"),
        "the preview of the camera, or the sensor's data; needs searchx[raw]",
    ),
    Format("plain text", "text", (".txt",), "passages; the text of a picture beside it"),
    Format("Markdown, reStructuredText", "text", (".md", ".rst"), "passages"),
    Format("HTML", "text", (".html", ".htm"), "passages of what a reader sees"),
    Format("PDF", "text", (".pdf",), "passages of its text, by page"),
    Format("Word", "text", (".docx",), "passages of its text"),
    Format("JSON lines", "corpus", (".jsonl",), "texts a line, for the picture that it names"),
    Format("CSV, TSV", "corpus", (".csv", ".tsv"), "texts a row, for the picture that it names"),
    Format("Parquet", "corpus", (".parquet",), "a picture, its texts or both a row"),
    Format("webdataset", "corpus", (".tar",), "a picture and its texts a sample"),
)
KINDS: Final[dict[str, Kind]] = {
    **dict.fromkeys(SIDECAR_SUFFIXES, "aside"),  # read only where a picture stands beside it
    **dict.fromkeys(IMAGE_SUFFIXES, "image"),
    **dict.fromkeys(TEXT_SUFFIXES, "text"),
    ".txt": "note",  # a text of its own, or that of a picture
    **dict.fromkeys(CORPUS_SUFFIXES, "corpus"),
}
_SUPPLEMENT: Final = "supplemental-metadata"
_NUMBER: Final = re.compile(r"(\(\d+\))\.json$", re.IGNORECASE)
_FORMS: Final[dict[str, Form]] = {
    **dict.fromkeys(IMAGE_SUFFIXES, "image"),
    **dict.fromkeys(TEXT_SUFFIXES, "text"),
    **dict.fromkeys(CORPUS_SUFFIXES, "corpus"),
}


def form_of(name: str) -> Form | None:
    """Tell by its name how a file is read; None for what searchx does not read."""
    return _FORMS.get(name[name.rfind(".", 1) :].lower())  # a dot at the start begins no suffix


def sidecars_of(pictures: Iterable[str], aside: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Find the files that tell of pictures in the same folder: for each picture, in their order.

    Of `photo.jpg` tell `photo.txt`, `photo.jpg.txt`, and the `photo.jpg.supplemental-metadata.json`
    of Google Takeout, whose long names it cuts off. Pictures of one stem share their sidecars here;
    what one says of itself is read with the pictures.
    """
    by_stem: dict[str, list[str]] = {}  # also by the whole name
    for picture in pictures:
        for stem in (picture, picture[: picture.rfind(".")]):
            by_stem.setdefault(stem, []).append(picture)
    found: dict[str, tuple[str, ...]] = {}
    for name in aside:
        stem = name[: name.rfind(".")]
        for picture in by_stem.get(stem) or by_stem.get(_taken_out(name)) or ():
            found[picture] = (*found.get(picture, ()), name)
    return found


def _taken_out(name: str) -> str:
    """Give the picture that a .json of Google Takeout tells of; "" where the name is none of those.

    The number of a second photo.jpg moves: photo(1).jpg has photo.jpg.supplemental-met(1).json.
    """
    if name[-5:].lower() != ".json":
        return ""
    number = _NUMBER.search(name)
    stem = name[: number.start() if number else -5]
    head, _, cut = stem.rpartition(".")
    picture = head if head and _SUPPLEMENT.startswith(cut) else stem
    at = picture.rfind(".")
    return picture[:at] + (number[1] if number else "") + picture[at:]
