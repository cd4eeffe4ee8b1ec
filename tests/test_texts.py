import io
import random
import struct
import zipfile
import zlib
from pathlib import Path

import docx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.prose.hypertext import MAX_ELEMENTS
from indexer.prose.texts import MAX_LETTERS, MAX_PARAGRAPHS, Extract, decode_text, extract
from indexer.refusals import Refused

# ruff: noqa: RUF001 - Greek and Turkish letters are meant
# Sentences of which the encodings of each language are told apart.
SPOKEN = {
    "de": "Die Größe der Straße überraschte ihn. Für die Bäume hätte er früher kommen müssen.",
    "fr": "L'été dernier, nous sommes allés à la plage où les élèves de l'école jouaient déjà.",
    "pl": "Zażółć gęślą jaźń. Pies biegnie przez łąkę i szczeka na każdego, kto się zbliży.",
    "cs": "Příliš žluťoučký kůň úpěl ďábelské ódy. Děti si hrají na zahradě.",
    "tr": "Köpek karda koşuyor. Kız kırmızı bir şemsiye tutuyor. Çok güzel bir gün, değil mi?",
    "ru": "Собака бежит по снегу. Девочка держит красный зонтик.",
    "el": "Ο σκύλος τρέχει στο χιόνι. Το κορίτσι κρατά μια κόκκινη ομπρέλα.",
    "ar": "الكلب يجري في الثلج. الفتاة تحمل مظلة حمراء.",
    "hu": "Árvíztűrő tükörfúrógép. A kutya fut a hóban, és a gyerekek örülnek neki.",
    "is": "Ísland er þar, og það er fallegt. Hún sá ísinn við höfnina.",
    "he": "הכלב רץ בשלג. הילדה מחזיקה מטרייה אדומה.",
    "th": "สุนัขวิ่งในหิมะ เด็กหญิงถือร่มสีแดง",
    "ja": "犬が雪の中を走っています。女の子は赤い傘を持っています。",
    "zh": "狗在雪地里奔跑。女孩拿着一把红色的雨伞。",
    "tw": "狗在雪地裡奔跑。女孩拿著一把紅色的雨傘。",
    "ko": "개가 눈 속을 달린다. 소녀는 빨간 우산을 들고 있다.",
}


def reason(data: bytes, suffix: str) -> str:
    with pytest.raises(Refused) as caught:
        extract(data, suffix)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def only(data: bytes, suffix: str) -> Extract:
    (one,) = extract(data, suffix)
    return one


@pytest.mark.parametrize("suffix", [".txt", ".md", ".rst", ".TXT"])
def test_plain_texts_stay_as_they_are(suffix: str) -> None:
    text = "---\ntitle: Barns\n---\n\n# A  barn\n\tred\n"
    assert only(text.encode(), suffix) == Extract(text)


def test_newlines_become_one_kind() -> None:
    assert decode_text(b"a\r\nb\rc\n\r\nd") == "a\nb\nc\n\nd"


@pytest.mark.parametrize(
    "encoding",
    [
        *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"),
    ],
)
def test_a_short_note_is_read_in_every_encoding_of_the_west(encoding: str) -> None:
    assert decode_text("Ein Käse im Café".encode(encoding)) == "Ein Käse im Café"


@pytest.mark.parametrize("language", SPOKEN)
def test_unicode_without_a_mark_is_found(language: str) -> None:
    text = f"{SPOKEN[language]}\n{SPOKEN[language]}\n"
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        assert decode_text(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("language", "encoding"),
    [
        *(("de", "cp1252"), ("de", "mac_roman"), ("fr", "cp1252"), ("pl", "cp1250")),
        *(("pl", "iso8859_2"), ("cs", "cp1250"), ("tr", "cp1254"), ("ru", "cp1251")),
        *(("ru", "koi8_r"), ("ru", "cp866"), ("el", "cp1253"), ("ar", "cp1256"), ("th", "cp874")),
        *(("ja", "shift_jis"), ("ja", "euc_jp"), ("ja", "iso2022_jp"), ("zh", "gb18030")),
        *(("tw", "big5"), ("ko", "cp949")),
        *(("hu", "cp1250"), ("is", "cp1252"), ("he", "cp1255")),
    ],
)
@pytest.mark.parametrize("times", [1, 40])
def test_encodings_from_before_unicode_are_estimated(
    language: str, encoding: str, times: int
) -> None:
    text = f"{SPOKEN[language]}\n" * times
    assert decode_text(text.encode(encoding)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("Größe und Übung für Jäger", "Müll", "für", "Weißwürste", "ÖL ÄNDERN", "„Ähm“, sagte er"),
        *("été", "l'élève", "cœur", "À bientôt à l'hôtel", "niño", "¡Olé! ¿Qué tal?", "mañana"),
        *("não", "São João", "canções", "così è più caffè", "smörgås", "röd stuga vid sjön"),
        *("Blåbær", "Rødgrød med fløde", "hyvää päivää", "één", "it’s fine", "£5 and €10"),
        *("5 m² Fläche", "20 °C in Köln", "“quoted” – café"),
    ],
)
def test_a_few_words_of_the_west_are_read_in_windows_1252(text: str) -> None:
    assert decode_text(text.encode("cp1252")) == text


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        *(
            ("cp1250", "Zażółć gęślą jaźń"),
            ("cp1250", "Łódź"),
            ("cp1250", "Pies biegnie przez łąkę"),
        ),
        *(("cp1250", "mężczyzna w kapeluszu"), ("cp1250", "Příliš žluťoučký kůň")),
        *(("cp1250", "hűvös idő"), ("cp1250", "Árvíztűrő tükörfúrógép")),
        *(
            ("iso8859_2", "Zażółć gęślą jaźń"),
            ("cp1251", "красный зонтик"),
            ("cp866", "Привет, мир"),
        ),
        *(("cp1253", "καλημέρα"), ("cp1255", "שלום עולם"), ("cp1256", "مرحبا بالعالم")),
        *(("cp874", "เด็กหญิงถือร่มสีแดง"), ("shift_jis", "赤い傘"), ("euc_jp", "こんにちは")),
        *(("big5", "你好世界"), ("cp949", "안녕하세요"), ("gb18030", "女孩拿着一把红色的雨伞")),
        ("cp850", "Größe und Übung für Jäger"),
        ("mac_roman", "Die Größe der Straße überraschte ihn. Für die Bäume hätte er Zeit."),
    ],
)
def test_a_few_words_of_others_are_not_taken_for_the_west(encoding: str, text: str) -> None:
    assert decode_text(text.encode(encoding)) == text


def test_letters_far_into_a_text_tell_its_encoding() -> None:
    text = "plain words\n" * 20_000 + SPOKEN["ru"]
    assert decode_text(text.encode("cp1251")) == text


def test_a_broken_letter_does_not_change_the_encoding_of_the_rest() -> None:
    data = SPOKEN["ru"].encode() + b"\xff\n" + SPOKEN["ru"].encode()
    assert decode_text(data) == f"{SPOKEN['ru']}\ufffd\n{SPOKEN['ru']}"


def test_a_stray_control_character_becomes_a_space() -> None:
    text = "a long text " * 40
    assert decode_text(f"{text}\x07{text}".encode()) == f"{text} {text}"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01binary\x02",
        b"PK\x03\x04zip",
        random.Random(0).randbytes(10_000),
        b"\xff\xfe" + random.Random(1).randbytes(10_000),
        b"\x89PNG\r\n\x1a\n" + zlib.compress(b"pixels" * 99),
        b"\xff\xd8\xff\xe0" + random.Random(2).randbytes(999).replace(b"\0", b"\1"),
        struct.pack("<500f", *(number / 7 for number in range(500))),
        b"a text, then\n" * 9000 + b"\0\0\0\0",
    ],
    ids=[
        "controls",
        "zip",
        "noise",
        "noise with a mark",
        "png",
        "jpeg",
        "floats",
        "zeros at the end",
    ],
)
def test_binary_data_is_refused(data: bytes) -> None:
    assert reason(data, ".txt") == "not a text but binary data"
    assert reason(data, ".html") == "not a text but binary data"


@given(st.binary(min_size=1, max_size=400))
def test_any_bytes_are_a_text_or_refused(data: bytes) -> None:
    try:
        text = decode_text(data)
    except Refused:
        return
    assert "\r" not in text
    assert "\0" not in text


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_utf_8_is_always_understood(text: str) -> None:
    if not text.startswith("\ufeff"):
        assert decode_text(text.encode()) == text


@pytest.mark.parametrize("suffix", [".txt", ".html", ".pdf", ".docx"])
def test_an_empty_file_is_called_empty(suffix: str) -> None:
    assert reason(b"", suffix) == "the file is empty"


def test_a_blank_text_is_refused() -> None:
    assert reason(b" \n\t \r\n", ".txt") == "there is no text in it"
    assert reason(b"<html><body><script>x()</script></body></html>", ".html") == (
        "there is no text in it"
    )
    assert reason(b"<!-- nothing -->", ".htm") == "there is no text in it"


def test_a_text_without_measure_is_refused() -> None:
    assert f"{MAX_LETTERS:,} letters" in reason(b"a" * (MAX_LETTERS + 1), ".txt")
    assert f"{MAX_PARAGRAPHS:,} paragraphs" in reason(b"a\n\n" * (MAX_PARAGRAPHS + 1), ".md")


def test_a_page_gives_its_title_and_what_is_shown() -> None:
    page = b"""<!doctype html><html><head><title>Red
      barns</title><style>p {color: red}</style><meta charset=utf-8></head><body>
      <h1>Barns</h1><p>One <b>red</b>\n barn.<p>Another<br>line.
      <script>if (a < b) { "</p>" }</script><template>no</template><div hidden>no <p>no</div>
      <p style="display: none">no</p><noscript>no</noscript><svg><title>no</title></svg>
      <ul><li>hay<li>a  cow &amp; calf</ul><img src="a.jpg" alt="A dog"><pre>as  it\n  is</pre>
      <table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table></body></html>"""
    one = only(page, ".html")
    assert one.text == (
        "Red barns\n\nBarns\nOne red barn.\n\nAnother\nline.\n\nhay\na cow & calf\n\nA dog\n\n"
        "as  it\n  is\n\n1\t2\n3"
    )
    assert not one.lines


@pytest.mark.parametrize(
    ("head", "encoding", "language"),
    [
        ('<meta charset="windows-1251">', "cp1251", "ru"),
        ("<META http-equiv=Content-Type content='text/html; charset=Shift_JIS'>", "cp932", "ja"),
        ("<meta charset=iso-2022-jp>", "iso2022_jp", "ja"),
        ('<?xml version="1.0" encoding="koi8-r"?>', "koi8_r", "ru"),
        ("<meta charset=iso-8859-1>", "cp1252", "fr"),
        ("<meta charset=gb2312>", "gb18030", "zh"),
        ("<meta charset=windows-1251>", "utf-8", "ru"),  # a lie; the bytes are clean UTF-8
        ("<meta charset=utf-16>", "utf-8", "ru"),
        ("<meta charset=utf-8>", "cp1251", "ru"),
        ("<meta charset=zlib>", "cp1251", "ru"),
        ("", "cp1251", "ru"),
        ("", "utf-16", "ru"),
    ],
)
def test_a_page_is_read_in_the_encoding_that_it_declares(
    head: str, encoding: str, language: str
) -> None:
    page = f"{head}<title>x</title><p>{SPOKEN[language]}</p>"
    assert only(page.encode(encoding), ".htm").text == f"x\n\n{SPOKEN[language]}"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "page",
    [
        b"<div>" * 300_000 + b"barn",
        b"<b>" * 300_000 + b"barn" + b"</b>" * 300_000,
        b"<" * 1_000_000 + b"p>barn",
        b"<p " + b"a=b " * 100_000 + b">barn",
        b"<p>barn" + b"&" * 1_000_000,
        b"<meta " * 200_000 + b">barn",
        b"<table><tr><td>" * 50_000 + b"barn",
    ],
    ids=lambda page: repr(page[:8]),
)
def test_a_page_made_to_take_long_does_not(page: bytes) -> None:
    assert "barn" in only(page, ".html").text


def test_a_page_of_too_many_elements_is_refused() -> None:
    assert f"{MAX_ELEMENTS:,} elements" in reason(b"<i>" * (MAX_ELEMENTS + 1), ".html")


def pdf(*pages: str, encrypted: bool = False) -> bytes:
    """Write a PDF by hand: the commands of every page."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, commands in enumerate(pages):
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>",
            f"<< /Length {len(commands)} >>\nstream\n{commands}\nendstream",
        ]
    locked = f"/Encrypt {len(objects) + 1} 0 R /ID [<{'00' * 16}> <{'00' * 16}>]" * encrypted
    if encrypted:  # keys that no password opens
        keys = f"/O <{'41' * 32}> /U <{'42' * 32}>"
        objects.append(f"<< /Filter /Standard /V 2 /R 3 /Length 128 /P -4 {keys} >>")
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode("cp1252")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n"
    end += f"<< /Size {len(objects) + 1} /Root 1 0 R {locked} >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + end.encode()


def shown(*lines: str) -> str:
    rows = [f"1 0 0 1 72 {720 - 14 * at} Tm ({line}) Tj" for at, line in enumerate(lines)]
    return f"BT /F1 12 Tf {' '.join(rows)} ET"


def test_a_pdf_gives_its_pages_that_hold_text() -> None:
    data = pdf(shown("A red barn in a snow-", "covered field.", "Café."), "", shown("The end."))
    assert extract(data, ".pdf") == [
        Extract("A red barn in a snowcovered field.\nCafé.", page=1, lines=False),
        Extract("The end.", page=3, lines=False),
    ]


def test_a_pdf_with_embedded_fonts_is_read(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    for kind in (3, 42):
        with matplotlib.rc_context({"pdf.fonttype": kind}):
            figure = Figure()
            figure.text(0.1, 0.5, "Żółta łódź at sea")
            figure.savefig(tmp_path / "a.pdf")
        assert only((tmp_path / "a.pdf").read_bytes(), ".pdf").text == "Żółta łódź at sea"


def test_a_pdf_that_cannot_be_used_has_its_reason() -> None:
    good = pdf(shown("A red barn."))
    assert "no text, perhaps only scanned pages" in reason(pdf("0 0 m 9 9 l S"), ".pdf")
    assert "password" in reason(pdf(shown("Secret."), encrypted=True), ".pdf")
    assert "not a PDF" in reason(b"<html>Page not found</html>", ".pdf")
    assert "not a PDF" in reason(good[: len(good) // 3], ".pdf")


def test_a_damaged_pdf_is_read_or_refused() -> None:
    noise = random.Random(3)
    good = pdf(shown("A red barn."), shown("The end."))
    for _ in range(200):
        bad = bytearray(good)
        for _ in range(5):
            bad[noise.randrange(len(bad))] = noise.randrange(256)
        try:
            assert extract(bytes(bad), ".pdf")
        except Refused:
            continue


def packed(document: object) -> bytes:
    buffer = io.BytesIO()
    assert hasattr(document, "save")
    document.save(buffer)
    return buffer.getvalue()


def test_a_word_document_gives_its_parts_in_their_order() -> None:
    document = docx.Document()
    document.add_heading("Barns", 1)
    document.add_paragraph("One red").add_run("\tbarn.").add_break()
    document.add_paragraph("hay", style="List Bullet")
    document.add_paragraph("straw", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ("a", "b", "c", "d"), strict=True):
        cell.text = text
    document.add_paragraph("The end.")
    one = only(packed(document), ".docx")
    assert one.text == "Barns\nOne red\tbarn.\n\n\nhay\nstraw\n\na\tb\nc\td\n\nThe end."
    assert not one.lines


def test_what_was_deleted_from_a_word_document_is_not_read() -> None:
    document = docx.Document()
    document.add_paragraph("Kept. GONE")
    data = rewritten(packed(document), b"<w:t>Kept. GONE</w:t></w:r>", (
        b"<w:t>Kept.</w:t></w:r><w:del><w:r><w:t>GONE</w:t></w:r></w:del>"
        b"<w:sdt><w:sdtContent><w:r><w:t> Chosen.</w:t></w:r></w:sdtContent></w:sdt>"
    ))  # fmt: skip
    assert only(data, ".docx").text == "Kept. Chosen."


def rewritten(data: bytes, old: bytes, new: bytes) -> bytes:
    """Replace bytes of the main part."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w", 8) as target:
        for part in source.infolist():
            body = source.read(part)
            if part.filename == "word/document.xml":
                assert old in body
                body = body.replace(old, new)
            target.writestr(part.filename, body)
    return buffer.getvalue()


def test_a_word_document_that_cannot_be_used_has_its_reason() -> None:
    document = docx.Document()
    assert reason(packed(document), ".docx") == "there is no text in it"
    document.add_paragraph("A barn.")
    good = packed(document)
    assert "not a Word document" in reason(b"Dear diary", ".docx")
    assert "not a Word document" in reason(good[: len(good) // 2], ".docx")
    assert "not a Word document" in reason(rewritten(good, b"</w:p>", b"</w:q>"), ".docx")
    assert "old Word file" in reason(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), ".docx")
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.txt", "not Word")
    assert "not a Word document" in reason(other.getvalue(), ".docx")


def test_a_word_document_that_unpacks_too_far_is_refused_unread() -> None:
    document = docx.Document()
    document.add_paragraph("A barn.")
    good = packed(document)
    bomb = rewritten(good, b"A barn.", b"A barn. " * 4_000_000)
    assert len(bomb) < 1 << 20
    assert "times its size" in reason(bomb, ".docx")
    nested = rewritten(good, b"<w:p>", b"<w:p>" + b"<w:r>" * 100_000)
    assert "not a Word document" in reason(nested, ".docx")
    laughs = b'<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><w:document'
    assert only(rewritten(good, b"<w:document", laughs), ".docx").text == "A barn."


def test_a_damaged_word_document_is_read_or_refused() -> None:
    document = docx.Document()
    document.add_paragraph("A red barn.")
    good = packed(document)
    noise = random.Random(4)
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(8):
            bad[noise.randrange(len(bad))] = noise.randrange(256)
        try:
            assert extract(bytes(bad), ".docx")
        except Refused:
            continue
