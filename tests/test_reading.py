"""Every suffix that the documentation names, from a real file to the answer of a search.

What docs/files.md says of a row of its table is what the file here is like: an animation begins
with a blank frame, an ICO with a small picture of another colour, a TIFF with a preview.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import docx
import imagecodecs
import numpy as np
import pillow_heif
import pyarrow as pa
import pyarrow.parquet
import pytest
from numpy.typing import NDArray
from PIL import Image

from indexer.formats import FORMATS, form_of
from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.pictures.images import RAW_SUFFIXES
from searchx.records import Hit, Kind, Report
from searchx.search import Library
from tests.colour import COLOURS, ColourEncoder, paint
from tests.scenes import packed
from tests.test_corpora import shard
from tests.test_docs import quoted
from tests.test_docs import table as told_table
from tests.test_picture_formats import photoshop
from tests.test_texts import pdf, shown
from tests.tiff_files import deep_tiff, dng

pillow_heif.register_heif_opener()
Write = Callable[[Path], object]
SIZE = (64, 48)
INLINE = Options(workers=0)
SENTENCE = "A red barn stands in the field."
PAGE = f"<html><script>var colour = 'blue'</script><p>{SENTENCE}</p></html>"
WITHOUT_RAWPY = """
import sys
sys.modules["rawpy"] = None  # what an import finds where it is not installed
from contextlib import closing
from pathlib import Path
from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from tests.colour import ColourEncoder
folder = Path(sys.argv[1])
with closing(Catalog.open(folder / "library", create=True)) as catalog:
    report = index([folder / "files"], catalog, ColourEncoder(), options=Options(workers=0))
for one in report.skipped:
    print(Path(one.path).name, one.reason, sep="\\t")
"""


def plain(colour: str, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new("RGB", size, COLOURS[colour])


def pixels() -> NDArray[np.uint8]:
    return np.asarray(plain("red"))


def striped() -> Image.Image:
    """Give a red picture that shows more than a blank one does."""
    image = plain("red")
    image.paste(COLOURS["black"], (8, 8, 16, 16))
    return image


def by(format: str, mode: str = "RGB", **options: object) -> Write:
    return lambda path: path.write_bytes(packed(plain("red").convert(mode), format, **options))


def animated(format: str, **options: object) -> Write:
    """Write an animation that fades in: its first frame is white."""
    frames: dict[str, object] = {"save_all": True, "append_images": [striped()], "duration": 100}
    return lambda path: path.write_bytes(packed(plain("white"), format, **frames, **options))


def encoded(encode: Callable[[NDArray[np.uint8]], bytes | bytearray]) -> Write:
    return lambda path: path.write_bytes(encode(pixels()))


def pages(path: Path) -> None:
    """Write a TIFF whose first page says of itself that it is a preview."""
    full = plain("red")
    full.encoderinfo = {"tiffinfo": {254: 0}}
    preview = plain("blue", (16, 12))
    path.write_bytes(
        packed(preview, "TIFF", save_all=True, append_images=[full], tiffinfo={254: 1})
    )


def deep(path: Path) -> None:
    path.write_bytes(deep_tiff(pixels().astype(np.uint16) * 257))


def stereo(path: Path) -> None:
    path.write_bytes(packed(plain("red"), "MPO", save_all=True, append_images=[plain("blue")]))


def icons(path: Path) -> None:
    small = plain("blue", (16, 12))
    path.write_bytes(packed(plain("red"), "ICO", sizes=[(16, 12), SIZE], append_images=[small]))


def bright(format: str, mode: str) -> Write:
    """Write a white picture, for what knows no red; a black line tells white from black."""

    def write(path: Path) -> None:
        image = plain("white").convert(mode)
        image.paste(0, (0, 0, SIZE[0], 1))
        path.write_bytes(packed(image, format))

    return write


def raw(path: Path) -> None:
    """Write what a camera writes: sensor data, and a JPEG beside it."""
    preview = packed(plain("red", (320, 208)), "JPEG", quality=95)
    path.write_bytes(dng(np.full((416, 640), 9000, np.uint16), preview, (320, 208), 1))


def written(text: str) -> Write:
    return lambda path: path.write_text(text, encoding="utf-8")


def word(path: Path) -> None:
    document = docx.Document()
    document.add_heading("The farm")
    document.add_paragraph(SENTENCE)
    document.save(str(path))


def portable(path: Path) -> None:
    path.write_bytes(pdf(shown("The farm"), shown(SENTENCE)))


def lines(path: Path) -> None:
    rows = ({"caption": "the blue sea", "tags": ["sea"]}, {"caption": SENTENCE})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def table(delimiter: str) -> Write:
    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerows([("id", "caption"), (1, "the blue sea"), (2, SENTENCE)])

    return write


def columns(path: Path) -> None:
    pictures = [packed(plain(colour), "PNG") for colour in ("blue", "red")]
    captions = ["the blue sea", SENTENCE]
    pa.parquet.write_table(pa.table({"image": pictures, "caption": captions}), path)


def samples(path: Path) -> None:
    members = [
        *(("000001.jpg", packed(plain("blue"), "JPEG")), ("000001.txt", b"the blue sea")),
        *(("000002.jpg", packed(plain("red"), "JPEG")), ("000002.txt", SENTENCE.encode())),
    ]
    shard(path, *members)


FILES: dict[str, Write] = {
    ".jpg": by("JPEG", "CMYK", quality=95),
    **dict.fromkeys((".jpeg", ".jpe", ".jfif"), by("JPEG", quality=95)),
    ".mpo": stereo,
    ".png": encoded(lambda levels: imagecodecs.png_encode(levels.astype(np.uint16) * 257)),
    ".apng": animated("PNG"),
    ".webp": animated("WEBP", lossless=True),
    ".avif": by("AVIF", quality=95),
    ".avifs": animated("AVIF", quality=95),
    **dict.fromkeys((".heic", ".heif", ".hif"), by("HEIF", quality=95)),
    ".gif": animated("GIF"),
    ".tif": pages,
    ".tiff": deep,
    ".bmp": by("BMP"),
    ".dib": by("DIB"),
    **dict.fromkeys((".jp2", ".jpx", ".jpf"), by("JPEG2000")),
    **dict.fromkeys((".j2k", ".j2c"), by("JPEG2000", no_jp2=True)),
    ".jxl": encoded(imagecodecs.jpegxl_encode),
    ".psd": lambda path: path.write_bytes(photoshop(plain("red"))),
    ".ppm": by("PPM"),
    ".pnm": by("PPM"),
    ".pgm": bright("PPM", "L"),
    ".pbm": bright("PPM", "1"),
    ".pfm": bright("PPM", "F"),
    ".qoi": encoded(imagecodecs.qoi_encode),
    ".tga": by("TGA"),
    ".ico": icons,
    **dict.fromkeys(RAW_SUFFIXES, raw),
    **dict.fromkeys((".txt", ".md", ".rst"), written(f"# The farm\n\n{SENTENCE}\n")),
    **dict.fromkeys((".html", ".htm"), written(PAGE)),
    ".pdf": portable,
    ".docx": word,
    ".jsonl": lines,
    ".csv": table(","),
    ".tsv": table("\t"),
    ".parquet": columns,
    ".tar": samples,
}
ANSWERS = {".pgm": "white", ".pbm": "white", ".pfm": "white"}  # all others are red
SUFFIXES = [suffix for row in FORMATS for suffix in row.suffixes]


class Found:
    """What was indexed, and how to ask for it."""

    def __init__(self, catalog: Catalog, sources: Sequence[Path]) -> None:
        encoder = ColourEncoder()
        self.report: Report = index(sources, catalog, encoder, options=INLINE)
        self._library = Library(catalog, encoder)

    def best(self, colour: str, to: Kind) -> Hit:
        return self._library.search(colour, 1, to)[0]

    def skipped(self) -> dict[str, str]:
        return {Path(one.path).name: one.reason for one in self.report.skipped}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog.open(tmp_path / "library", create=True)) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with a picture and a text that no question here is about."""
    paint(tmp_path / "files" / "sea.png", "blue")
    (tmp_path / "files" / "sky.md").write_text("a blue sky")
    return tmp_path / "files"


def test_there_is_a_file_for_every_suffix_of_the_table() -> None:
    assert sorted(FILES) == sorted(SUFFIXES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_every_suffix_is_found(suffix: str, folder: Path, catalog: Catalog) -> None:
    if suffix in RAW_SUFFIXES:
        pytest.importorskip("rawpy", reason='rawpy is not installed: pip install "searchx[raw]"')
    path = folder / f"farm{suffix}"
    form = form_of(path.name)
    FILES[suffix](path)
    found = Found(catalog, [folder, path] if form == "corpus" else [folder])
    assert found.skipped() == {}
    hit = found.best(ANSWERS.get(suffix, "red"), "image" if form == "image" else "text")
    assert (hit.path, hit.score > 0.9) == (str(path), True)


@pytest.mark.parametrize("suffix", [".parquet", ".tar"])
def test_a_picture_inside_a_corpus_is_found_with_its_text(
    suffix: str, folder: Path, catalog: Catalog
) -> None:
    path = folder / f"farm{suffix}"
    FILES[suffix](path)
    hit = Found(catalog, [folder, path]).best("red", "image")
    fragment = {".parquet": "row 2", ".tar": "sample 000002"}[suffix]
    assert (hit.path, hit.item.locations[0].fragment) == (str(path), fragment)
    assert hit.item.captions == (SENTENCE,)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv"])
def test_a_row_that_names_a_picture_file_tells_of_it(
    suffix: str, folder: Path, catalog: Catalog
) -> None:
    barn = paint(folder / "barn.png", "red")
    path = folder / f"captions{suffix}"
    row = {"image": barn.name, "caption": SENTENCE}
    if suffix == ".jsonl":
        path.write_text(json.dumps(row), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row, delimiter="\t" if suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerow(row)
    found = Found(catalog, [folder, path])
    hit = found.best("red", "image")
    assert (hit.path, hit.item.captions) == (str(barn), (SENTENCE,))
    assert found.best("red", "text").item.pictures == (hit.id,)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("photo.txt", SENTENCE),
        ("photo.png.txt", SENTENCE),
        ("photo.json", json.dumps({"caption": SENTENCE})),
        ("photo.png.supplemental-metadata.json", json.dumps({"description": SENTENCE})),
        (
            "photo.xmp",
            '<x:xmpmeta xmlns:x="adobe:ns:meta/" '
            'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
            'xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:RDF><rdf:Description>'
            f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{SENTENCE}</rdf:li></rdf:Alt>'
            "</dc:description></rdf:Description></rdf:RDF></x:xmpmeta>",
        ),
    ],
)
def test_a_text_beside_a_picture_is_found_and_leads_to_it(
    name: str, content: str, folder: Path, catalog: Catalog
) -> None:
    picture = paint(folder / "photo.png", "green")
    (folder / name).write_text(content, encoding="utf-8")
    found = Found(catalog, [folder])
    hit = found.best("red", "text")
    assert (hit.item.text, hit.path) == (SENTENCE, str(picture))
    shown = found.best("green", "image")
    assert hit.item.pictures == (shown.id,)
    assert shown.item.captions == (SENTENCE,)


def test_edits_of_apple_photos_and_json_without_a_picture_are_passed_over(
    folder: Path, catalog: Catalog
) -> None:
    paint(folder / "photo.png", "green")
    for name in ("photo.AAE", "settings.json", "other.xmp", "table.xlsx"):
        (folder / name).write_text(SENTENCE)
    found = Found(catalog, [folder])
    assert (found.report.added, found.skipped()) == (3, {})


def test_a_corpus_inside_a_folder_is_left_out_and_named(folder: Path, catalog: Catalog) -> None:
    lines(folder / "captions.jsonl")
    report = Found(catalog, [folder]).report
    assert report.added == 2
    assert any("captions.jsonl" in note and "name them" in note for note in report.notes)


def test_camera_raw_without_rawpy_is_refused_with_what_to_install(folder: Path) -> None:
    for suffix in RAW_SUFFIXES:
        raw(folder / f"farm{suffix}")
    command = [sys.executable, "-c", WITHOUT_RAWPY, str(folder.parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    refused = dict(line.split("\t") for line in done.stdout.splitlines())
    reason = 'camera raw pictures need: pip install "searchx[raw]"'
    assert refused == {f"farm{suffix}": reason for suffix in RAW_SUFFIXES}


def test_what_cannot_be_read_is_refused_with_its_reason(folder: Path, catalog: Catalog) -> None:
    (folder / "empty.jpg").touch()
    (folder / "renamed.jpg").write_bytes(b"no picture at all, but long enough to be one" * 9)
    (folder / "large.png").write_bytes(packed(Image.new("1", (20_000, 10_001)), "PNG"))
    (folder / "narrow.png").write_bytes(packed(Image.new("1", (2_010, 10)), "PNG"))
    (folder / "deep.psd").write_bytes(photoshop(plain("red"), bits=16))
    (folder / "picture.txt").write_bytes(packed(plain("red"), "PNG"))
    (folder / "empty.html").write_text("<html><p> </p></html>")
    (folder / "scan.pdf").write_bytes(pdf("0 0 m 9 9 l S"))
    (folder / "locked.pdf").write_bytes(pdf(shown("Secret."), encrypted=True))
    (folder / "old.docx").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    refused = Found(catalog, [folder]).skipped()
    expected = {
        "empty.jpg": "the file is empty",
        "renamed.jpg": "not a picture in a format that searchx reads",
        "large.png": "the picture has more than 200 million pixels",
        "narrow.png": "the picture is too narrow (2010 x 10 pixels)",
        "deep.psd": "a Photoshop file of more than 8 bits a channel; save it with 8",
        "picture.txt": "not a text but binary data",
        "empty.html": "there is no text in it",
        "scan.pdf": "it holds no text, perhaps only scanned pages; run a text recognition on it",
        "locked.pdf": "it is protected with a password; save a copy without one",
        "old.docx": "an old Word file, or one with a password; save it as .docx without one",
    }
    assert refused == expected
    told = [one.partition("(...)")[0] for row in told_table("Reason") for one in quoted(row[0])]
    assert [one for one in expected.values() if not one.startswith(tuple(told))] == []
