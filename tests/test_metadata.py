import io
import struct
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from time import perf_counter
from typing import TypeAlias

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from indexer.about import exif, facts, iptc, xmp
from indexer.about.blocks import blocks
from indexer.about.dates import OFFSETS, in_name, is_plausible, written
from indexer.about.metadata import embedded
from indexer.refusals import Refused
from searchx.records import Metadata

GPS = {1: "N", 2: (48.0, 12.0, 30.0), 3: "W", 4: (16.0, 22.0, 12.0), 5: b"\0", 6: 171.5}
IN_GPS = (48 + 12 / 60 + 30 / 3600, -(16 + 22 / 60 + 12 / 3600))
Tags: TypeAlias = Mapping[int, object]
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
}


def packet(properties: str) -> bytes:
    spaces = " ".join(f'xmlns:{name}="{place}"' for name, place in NAMESPACES.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF {spaces}><rdf:Description rdf:about="">{properties}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def lang(name: str, text: str) -> str:
    return f'<{name}><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></{name}>'


def bag(name: str, *texts: str) -> str:
    lines = "".join(f"<rdf:li>{text}</rdf:li>" for text in texts)
    return f"<{name}><rdf:Bag>{lines}</rdf:Bag></{name}>"


def exif_of(
    main: Tags | None = None,
    inner: Tags | None = None,
    gps: Tags | None = None,
) -> Image.Exif:
    made = Image.Exif()
    made.update(main or {})
    made.get_ifd(EXIF_IFD).update(inner or {})
    made.get_ifd(GPS_IFD).update(gps or {})
    return made


def picture() -> Image.Image:
    return Image.new("RGB", (32, 24), "teal")


def saved(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture().save(file, form, **options)
    return file.getvalue()


def jpeg(
    main: Tags | None = None,
    inner: Tags | None = None,
    gps: Tags | None = None,
    **options: object,
) -> bytes:
    return saved("JPEG", exif=exif_of(main, inner, gps), **options)


def record(number: int, content: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, 2, number, len(content)) + content


def resource(number: int, content: bytes) -> bytes:
    even = content + b"\0" * (len(content) % 2)
    return b"8BIM" + struct.pack(">H", number) + b"\0\0" + struct.pack(">I", len(content)) + even


def with_iptc(data: bytes, *records: bytes) -> bytes:
    body = b"Photoshop 3.0\0" + resource(0x0404, b"\x1c\x01Z\0\x03\x1b%G" + b"".join(records))
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + data[2:]


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


def about(data: bytes, name: str = "a.jpg") -> Metadata:
    return embedded(data, name)[0]


def captions(data: bytes, name: str = "a.jpg") -> tuple[str, ...]:
    return embedded(data, name)[1]


# --- the formats -----------------------------------------------------------------------------

TOLD = exif_of({0x010F: "Canon", 0x0110: "Canon EOS 5D"}, {0x9003: "2019:07:04 12:30:05"}, GPS)
DOG_XMP = packet(lang("dc:description", "a dog on the beach") + bag("dc:subject", "dog", "sea"))


def png() -> bytes:
    told = PngImagePlugin.PngInfo()
    told.add_itxt("XML:com.adobe.xmp", DOG_XMP.decode(), zip=True)
    return saved("PNG", exif=TOLD, pnginfo=told)


def tiff() -> bytes:
    told = exif_of({0x010F: "Canon", 0x0110: "Canon EOS 5D"}, {0x9003: "2019:07:04 12:30:05"}, GPS)
    told[700] = DOG_XMP
    return saved("TIFF", exif=told.tobytes())


def heif() -> bytes:
    pillow_heif.register_heif_opener()
    return saved("HEIF", exif=TOLD.tobytes(), xmp=DOG_XMP)


def jpeg_xl() -> bytes:
    pixels = np.asarray(picture())  # (height, width, 3)
    return (
        bytes.fromhex("0000000c4a584c200d0a870a")
        + box(b"ftyp", b"jxl \0\0\0\0jxl ")
        + box(b"Exif", b"\0\0\0\0" + TOLD.tobytes().removeprefix(b"Exif\0\0"))
        + box(b"xml ", DOG_XMP)
        + box(b"jxlc", bytes(imagecodecs.jpegxl_encode(pixels)))
    )


def block(directory: Tags) -> bytes:
    made = Image.Exif()
    made.update(directory)
    return made.tobytes().removeprefix(b"Exif\0\0")


def canon_raw() -> bytes:
    tables = (
        box(b"CMT1", block({0x010F: "Canon", 0x0110: "Canon EOS 5D"}))
        + box(b"CMT2", block({0x9003: "2019:07:04 12:30:05"}))
        + box(b"CMT4", block(GPS))
    )
    canon = box(b"uuid", bytes.fromhex("85c0b687820f11e08111f4ce462b6a48") + tables)
    adobe = box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + DOG_XMP)
    return box(b"ftyp", b"crx \0\0\0\1crx isom") + box(b"moov", canon) + adobe


def fuji_raw() -> bytes:
    preview = saved("JPEG", exif=TOLD, xmp=DOG_XMP)
    return b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">II", 92, len(preview)) + preview


def photoshop_file() -> bytes:
    kept = resource(0x0422, TOLD.tobytes().removeprefix(b"Exif\0\0")) + resource(0x0424, DOG_XMP)
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 24, 32, 8, 3)
    pixels = struct.pack(">H", 0) + bytes(32 * 24 * 3)
    return head + struct.pack(">I", 0) + struct.pack(">I", len(kept)) + kept + bytes(4) + pixels


def olympus_raw() -> bytes:
    return b"IIRO" + tiff()[4:]


FORMATS = {
    "JPEG": lambda: saved("JPEG", exif=TOLD, xmp=DOG_XMP),
    "PNG": png,
    "WebP": lambda: saved("WEBP", exif=TOLD, xmp=DOG_XMP),
    "AVIF": lambda: saved("AVIF", exif=TOLD, xmp=DOG_XMP),
    "TIFF": tiff,
    "HEIF": heif,
    "JPEG XL": jpeg_xl,
    "PSD": photoshop_file,
    "CR3": canon_raw,
    "RAF": fuji_raw,
    "ORF": olympus_raw,
}


@pytest.mark.parametrize("form", FORMATS)
def test_exif_and_xmp_are_read_from_every_format_that_keeps_them(form: str) -> None:
    metadata, texts = embedded(FORMATS[form](), "a")
    assert metadata.camera == "Canon EOS 5D"
    assert metadata.taken == datetime(2019, 7, 4, 12, 30, 5)
    assert metadata.taken_from == "exif"
    assert metadata.latitude == pytest.approx(IN_GPS[0])
    assert metadata.longitude == pytest.approx(IN_GPS[1])
    assert metadata.altitude == pytest.approx(171.5)
    assert metadata.keywords == ("dog", "sea")
    assert texts == ("a dog on the beach", "dog, sea")


def test_a_png_of_imagemagick_keeps_its_exif_as_text() -> None:
    raw = TOLD.tobytes()
    told = PngImagePlugin.PngInfo()
    told.add_text("Raw profile type exif", f"\nexif\n{len(raw):8}\n{raw.hex()}\n", zip=True)
    assert about(saved("PNG", pnginfo=told)).camera == "Canon EOS 5D"


def test_a_picture_without_metadata_tells_nothing() -> None:
    assert embedded(saved("PNG"), "a.png") == (Metadata(), ())


def test_what_is_no_picture_tells_only_its_name() -> None:
    metadata, texts = embedded(b"", "IMG_20190704_123005.jpg")
    assert metadata == Metadata(taken=datetime(2019, 7, 4, 12, 30, 5), taken_from="name")
    assert texts == ()


# --- when it was taken -----------------------------------------------------------------------

EVERY_DATE = packet(
    "<photoshop:DateCreated>2004-04-04T04:04:04</photoshop:DateCreated>"
    "<exif:GPSTimeStamp>2006-06-06T06:06:06Z</exif:GPSTimeStamp>"
)
LEFT_OUT = ("exif", "exif-digitized", "xmp", "iptc", "gps", "exif-modified", "name")


@pytest.mark.parametrize("count", range(len(LEFT_OUT)))
def test_dates_fall_back_in_the_documented_order(count: int) -> None:
    missing = LEFT_OUT[:count]
    inner = {0x9003: "2002:02:02 02:02:02", 0x9004: "2003:03:03 03:03:03"}
    if "exif" in missing:
        del inner[0x9003]
    if "exif-digitized" in missing:
        del inner[0x9004]
    days = b"" if "iptc" in missing else record(55, b"20050505")
    properties = EVERY_DATE.decode()
    if "xmp" in missing:
        properties = properties.replace("DateCreated", "Other")
    if "gps" in missing:
        properties = properties.replace("GPSTimeStamp", "Other")
    main = {} if "exif-modified" in missing else {0x0132: "2007:07:07 07:07:07"}
    data = with_iptc(jpeg(main, inner, xmp=properties.encode()), days)
    metadata = about(data, "IMG_20080808_080808.jpg")
    assert metadata.taken_from == LEFT_OUT[count]
    assert metadata.taken is not None
    assert metadata.taken.year == 2002 + count


def test_the_offset_beside_a_date_is_its_zone_and_the_fraction_is_kept() -> None:
    inner = {0x9003: "2024:01:12 21:38:53", 0x9011: "-08:00", 0x9291: "853"}
    taken = about(jpeg(None, inner)).taken
    assert taken is not None
    assert taken.isoformat() == "2024-01-12T21:38:53.853000-08:00"


def test_the_offset_of_the_time_of_change_counts_only_for_an_unchanged_picture() -> None:
    inner = {0x9003: "2024:01:12 21:38:53", 0x9010: "-08:00"}
    same, other = {0x0132: "2024:01:12 21:38:53"}, {0x0132: "2024:02:01 10:00:00"}
    kept, edited = about(jpeg(same, inner)).taken, about(jpeg(other, inner)).taken
    assert kept is not None
    assert edited is not None
    assert kept.utcoffset() == timedelta(hours=-8)
    assert edited == datetime(2024, 1, 12, 21, 38, 53)


@pytest.mark.parametrize(
    ("fix", "minutes"),
    [
        ((16.0, 4.0, 21.0), -300),  # Omaha in summer, a second behind
        ((5.0, 19.0, 22.0), 345),  # Nepal
        ((10.0, 20.0, 0.0), None),  # an old fix: no place has such an offset
        ((11.0, 19.0, 0.0), None),  # nor a quarter of an hour
    ],
)
def test_the_zone_is_told_by_the_gps_time_where_some_place_has_such_an_offset(
    fix: tuple[float, ...], minutes: int | None
) -> None:
    data = jpeg(None, {0x9003: "2019:03:21 11:04:22"}, {7: fix, 29: "2019:03:21"})
    taken = about(data).taken
    assert taken is not None
    assert taken.replace(tzinfo=None) == datetime(2019, 3, 21, 11, 4, 22)
    expected = None if minutes is None else timedelta(minutes=minutes)
    assert taken.utcoffset() == expected


def test_a_gps_date_without_a_time_is_no_date() -> None:
    assert about(jpeg(None, None, {29: "2019:03:21"})).taken is None


@pytest.mark.parametrize(
    "text", ["0000:00:00 00:00:00", "1700:01:01 00:00:00", "9999:01:01 00:00:00", "    :  :     "]
)
def test_dates_that_cannot_be_true_are_passed_over(text: str) -> None:
    data = jpeg({0x0132: "2007:07:07 07:07:07"}, {0x9003: text})
    assert about(data).taken == datetime(2007, 7, 7, 7, 7, 7)


def test_next_year_is_plausible_and_the_one_after_is_not() -> None:
    year = datetime.now(UTC).year
    assert is_plausible(datetime(year + 1, 6, 1))
    assert not is_plausible(datetime(year + 2, 6, 1))


def test_an_iptc_time_without_a_date_is_no_date() -> None:
    assert about(with_iptc(saved("JPEG"), record(60, b"143000+0000"))).taken is None


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (b"143318+0900", "2007-12-06T14:33:18+09:00"),
        (b"143318+0000", "2007-12-06T14:33:18"),  # what programs write for "not known"
        (b"xx", "2007-12-06T00:00:00"),
    ],
)
def test_iptc_dates(time: bytes, expected: str) -> None:
    data = with_iptc(saved("JPEG"), record(55, b"20071206"), record(60, time))
    taken = about(data).taken
    assert taken is not None
    assert taken.isoformat() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2019:07:04 12:30:05", "2019-07-04T12:30:05"),
        ("2019-07-04T12:30:05.25Z", "2019-07-04T12:30:05.250000+00:00"),
        ("2019-07-04T12:30+02:00", "2019-07-04T12:30:00+02:00"),
        ("2019-07-04", "2019-07-04T00:00:00"),
        ("1952-06", "1952-06-01T00:00:00"),
        ("1952", "1952-01-01T00:00:00"),
        ("2019:07:04 12:30:60", "2019-07-04T12:30:59"),  # a leap second
        ("2019-13-04", None),
        ("2019-07-04T25:00", None),
        ("soon", None),
        ("", None),
    ],
)
def test_written_dates(text: str, expected: str | None) -> None:
    when = written(text)
    assert (when and when.isoformat()) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IMG_20190704_123005", "2019-07-04T12:30:05"),
        ("20190704_123005(1)", "2019-07-04T12:30:05"),
        ("IMG_20190704_123005_HDR", "2019-07-04T12:30:05"),
        ("2019-07-04 12.30.05", "2019-07-04T12:30:05"),
        ("PXL_20201224_153045123", "2020-12-24T15:30:45.123000+00:00"),
        ("PXL_20201224_153045123.PORTRAIT", "2020-12-24T15:30:45.123000+00:00"),
        ("IMG-20190704-WA0001", "2019-07-04T00:00:00"),
        ("WhatsApp Image 2019-07-04 at 12.30.05", "2019-07-04T12:30:05"),
        ("WhatsApp Image 2019-07-04 at 12.30.05 (1)", "2019-07-04T12:30:05"),
        ("Screenshot_20190704-123005_Maps", "2019-07-04T12:30:05"),
        ("Screenshot_2019-07-04-12-30-05-123_com.app", "2019-07-04T12:30:05.123000"),
        ("Screenshot 2019-07-04 at 5.30.05 PM", "2019-07-04T17:30:05"),
        ("Screenshot 2019-07-04 at 12.30.05\u202fAM", "2019-07-04T00:30:05"),
        ("signal-2019-07-04-123005", "2019-07-04T12:30:05"),
        ("photo_2019-07-04_12-30-05", "2019-07-04T12:30:05"),
        ("20190704123005", "2019-07-04T12:30:05"),
        ("beach 2019-07-04", "2019-07-04T00:00:00"),
        ("2019-07-04_1234", "2019-07-04T00:00:00"),
        ("IMG_1234", None),
        ("IMG_20191304_123005", None),
        ("123201907041", None),
        ("20190704-201", "2019-07-04T00:00:00"),
        ("2998-07-04", None),
        ("", None),
    ],
)
def test_dates_in_names(name: str, expected: str | None) -> None:
    when = in_name(name)
    assert (when and when.isoformat()) == expected


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2024, 1, 1)),
    st.sampled_from(sorted(OFFSETS)),
)
def test_a_date_written_and_read_is_the_same(when: datetime, minutes: int) -> None:
    zoned = when.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert written(zoned.isoformat()) == zoned


# --- place, camera, lens, rating -------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {1: "\0", 3: "\0"},
        {2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)},
        {2: (91.0, 0.0, 0.0)},
        {4: (181.0, 0.0, 0.0)},
        {1: "E"},
    ],
)
def test_a_place_that_cannot_be_true_is_none(wrong: dict[int, object]) -> None:
    metadata = about(jpeg(None, None, GPS | wrong))
    assert (metadata.latitude, metadata.longitude, metadata.altitude) == (None, None, None)


def test_degrees_over_zero_are_no_place() -> None:
    fraction = struct.pack("<6I", 1, 0, 2, 0, 3, 0)
    good = jpeg(None, None, GPS)
    raw = struct.pack("<6I", 48, 1, 12, 1, 30, 1)
    big = struct.pack(">6I", 48, 1, 12, 1, 30, 1)
    assert raw in good or big in good
    assert about(good.replace(raw, fraction).replace(big, fraction)).latitude is None


def test_below_the_sea_is_negative() -> None:
    assert about(jpeg(None, None, GPS | {5: b"\1"})).altitude == pytest.approx(-171.5)


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        ("48,12.5N", "16,22,12W", (48 + 12.5 / 60, IN_GPS[1])),
        ("48.5S", "16.25E", (-48.5, 16.25)),
        ("-48.5", "16.25", (-48.5, 16.25)),
        ("48,12.5E", "16,22,12W", (None, None)),
        ("north", "16.25", (None, None)),
        ("0,0N", "0,0E", (None, None)),
    ],
)
def test_places_in_xmp(
    latitude: str, longitude: str, expected: tuple[float | None, float | None]
) -> None:
    told = packet(
        f"<exif:GPSLatitude>{latitude}</exif:GPSLatitude>"
        f"<exif:GPSLongitude>{longitude}</exif:GPSLongitude>"
        "<exif:GPSAltitude>343/2</exif:GPSAltitude><exif:GPSAltitudeRef>1</exif:GPSAltitudeRef>"
    )
    metadata = about(saved("JPEG", xmp=told))
    for found, wanted in zip((metadata.latitude, metadata.longitude), expected, strict=True):
        assert found == (wanted if wanted is None else pytest.approx(wanted))
    assert metadata.altitude == (None if expected[0] is None else pytest.approx(-171.5))


@pytest.mark.parametrize(
    ("maker", "model", "expected"),
    [
        ("NIKON CORPORATION", "NIKON D750", "NIKON D750"),
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("Canon", "EOS R5", "Canon EOS R5"),
        ("PENTAX Corporation ", "PENTAX K10D        ", "PENTAX K10D"),
        ("EASTMAN KODAK COMPANY", "KODAK DX6490 ZOOM", "KODAK DX6490 ZOOM"),
        ("CASIO COMPUTER CO.,LTD.", "EX-Z750", "CASIO EX-Z750"),
        ("OLYMPUS IMAGING CORP.", "E-M10", "OLYMPUS E-M10"),
        ("LG Electronics", "LG-H870", "LG-H870"),
        ("SONY", "", "SONY"),
        ("", "DSLR-A550", "DSLR-A550"),
        ("", "", None),
    ],
)
def test_a_camera_has_its_maker_once(maker: str, model: str, expected: str | None) -> None:
    assert about(jpeg({0x010F: maker, 0x0110: model})).camera == expected


def test_lens_and_rating_of_exif() -> None:
    metadata = about(jpeg({0x4746: 4}, {0xA434: "RF100-500mm F4.5-7.1 L IS USM"}))
    assert (metadata.lens, metadata.rating) == ("RF100-500mm F4.5-7.1 L IS USM", 4)
    assert about(jpeg(None, {0xA434: "----"})).lens is None


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("<xmp:Rating>3</xmp:Rating>", 3),
        ("<xmp:Rating>-1</xmp:Rating>", -1),
        ("<xmp:Rating>-9.5</xmp:Rating>", -1),
        ("<xmp:Rating>1e300</xmp:Rating>", 5),
        ("<xmp:Rating>good</xmp:Rating>", None),
        ("<xmp:Rating>nan</xmp:Rating>", None),
        ("<MicrosoftPhoto:Rating>1</MicrosoftPhoto:Rating>", 1),
        ("<MicrosoftPhoto:Rating>75</MicrosoftPhoto:Rating>", 4),
        ("<MicrosoftPhoto:Rating>99</MicrosoftPhoto:Rating>", 5),
    ],
)
def test_ratings_in_xmp(told: str, expected: int | None) -> None:
    assert about(saved("JPEG", xmp=packet(told))).rating == expected


def test_camera_and_lens_of_xmp_fill_what_exif_lacks() -> None:
    told = packet(
        "<tiff:Make>FUJIFILM</tiff:Make><tiff:Model>X-T4</tiff:Model><aux:Lens>XF 35mm</aux:Lens>"
    )
    metadata = about(saved("JPEG", xmp=told))
    assert (metadata.camera, metadata.lens) == ("FUJIFILM X-T4", "XF 35mm")


# --- texts -----------------------------------------------------------------------------------


def test_titles_captions_and_keywords_of_all_three_are_joined_each_once() -> None:
    told = packet(
        lang("dc:title", "Nesting")
        + lang("dc:description", "A falcon  at its nest.")
        + bag("dc:subject", "bird", "nest")
        + bag("lr:hierarchicalSubject", "animals|Bird|falcon")
        + bag("digiKam:TagsList", "people/Ann")
    )
    made = jpeg(
        {0x010E: "A falcon at its nest.", 0x9C9E: "rock;nest\0".encode("utf-16-le")}, xmp=told
    )
    data = with_iptc(
        made,
        record(5, b"Other title"),
        record(25, "Küken".encode()),
        record(25, b"bird"),
        record(105, b"Four eggs"),
        record(120, b"A falcon at its"),  # cut off
    )
    metadata, texts = embedded(data, "a.jpg")
    words = ("bird", "nest", "animals", "falcon", "people", "Ann", "Küken", "rock")
    assert metadata.title == "Nesting"
    assert metadata.keywords == words
    assert texts == ("Nesting", "A falcon at its nest.", "Four eggs", ", ".join(words))


def test_the_default_language_goes_first() -> None:
    told = packet(
        '<dc:description><rdf:Alt><rdf:li xml:lang="de">Hund</rdf:li>'
        '<rdf:li xml:lang="x-default">dog</rdf:li></rdf:Alt></dc:description>'
    )
    assert captions(saved("JPEG", xmp=told)) == ("dog",)


def test_people_in_regions_are_keywords() -> None:
    told = packet(
        '<mwg-rs:Regions><mwg-rs:RegionList><rdf:Bag><rdf:li><rdf:Description mwg-rs:Name="Ann"/>'
        "</rdf:li><rdf:li><mwg-rs:Name>Bob</mwg-rs:Name></rdf:li></rdf:Bag></mwg-rs:RegionList>"
        "</mwg-rs:Regions>"
    )
    assert about(saved("JPEG", xmp=told)).keywords == ("Ann", "Bob")


@pytest.mark.parametrize("kind", [0x9C9B, 0x9C9C, 0x9C9F])
def test_texts_that_windows_writes(kind: int) -> None:
    data = jpeg({kind: "Großmutters Garten\0".encode("utf-16-le")})
    assert captions(data) == ("Großmutters Garten",)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"ASCII\0\0\0the old mill\0\0", ("the old mill",)),
        (b"UNICODE\0" + "die alte Mühle".encode("utf-16-le"), ("die alte Mühle",)),
        (b"UNICODE\0" + "die alte Mühle".encode("utf-16-be"), ("die alte Mühle",)),
        (b"JIS\0\0\0\0\0" + "水車".encode("iso2022_jp"), ("水車",)),
        (b"\0" * 8 + b"the old mill", ("the old mill",)),
        (b"the old mill", ("the old mill",)),
        (b"\0" * 200, ()),
        (b"ASCII\0\0\0\x01\x02\x03binary", ()),
        (b"ASCII\0\0\0filter: 0; mode: 2.0; mask: 0; scene: 1;", ()),
        (b'ASCII\0\0\0{"data": 1}', ()),
    ],
)
def test_user_comments(raw: bytes, expected: tuple[str, ...]) -> None:
    assert captions(jpeg(None, {0x9286: raw})) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("OLYMPUS DIGITAL CAMERA", "SAMSUNG", "DCIM", "default", "SONY DSC", "  ", "123"),
        *("DCIM\\100MEDIA\\DJI_0001.JPG", "IMG_1234", "holiday.jpeg"),
    ],
)
def test_what_cameras_fill_in_is_no_caption(text: str) -> None:
    assert captions(jpeg({0x010E: text})) == ()


def test_a_sentence_that_ends_like_a_file_name_stays_a_caption() -> None:
    assert captions(jpeg({0x010E: "We walked to the sea.Now it rains"})) != ()


def test_a_cut_or_latin_text_is_still_read() -> None:
    assert facts.decoded("Küche Ü".encode()[:-1]) == "Küche "
    assert facts.decoded("Küche".encode("cp1252")) == "Küche"
    assert facts.decoded(b"a\x81") == "a\x81"


def test_texts_are_bounded() -> None:
    told = packet(
        lang("dc:title", "t" * 5_000)
        + lang("dc:description", "d" * 50_000)
        + bag("dc:subject", *(f"{number:04}" + "k" * 500 for number in range(500)))
    )
    metadata, texts = embedded(saved("WEBP", xmp=told), "a.webp")
    assert metadata.title == "t" * 1_000
    assert "d" * 10_000 in texts
    assert len(metadata.keywords) == 100
    assert max(map(len, metadata.keywords)) == 200


def test_control_characters_do_not_survive() -> None:
    assert facts.one_line("a\0b\x1bc\ud800d\n\ne", 100) == "a b c d e"


# --- damaged and hostile ---------------------------------------------------------------------


def test_broken_xmp_costs_neither_exif_nor_iptc() -> None:
    broken = saved("JPEG", exif=TOLD, xmp=b"<x:xmpmeta")
    metadata, texts = embedded(with_iptc(broken, record(120, b"a dog")), "a.jpg")
    assert metadata.camera == "Canon EOS 5D"
    assert texts == ("a dog",)


LAUGHS = b"<!DOCTYPE a [<!ENTITY a 'ha'>" + b"".join(
    b"<!ENTITY %c '%s'>" % (98 + level, b"&%c;" % (97 + level) * 10) for level in range(10)
)


@pytest.mark.parametrize(
    "hostile",
    [
        LAUGHS + b"]><a>&k;</a>",
        b"<a>" * 2_000_000,
        b"<a>" + b"<b/>" * 2_000_000,
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
        b"\xff\xfe<\0a\0",
        b" " * (xmp.MAX_BYTES + 1),
        b"<a/>",
        b"",
    ],
)
def test_hostile_xml_is_refused_in_bounded_time_and_memory(hostile: bytes) -> None:
    tracemalloc.start()
    began = perf_counter()
    try:
        with pytest.raises(Refused):
            xmp.facts(hostile)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert perf_counter() - began < 10
    assert peak < 4 * len(hostile) + (64 << 20)


def test_many_tags_over_one_long_value_take_no_memory() -> None:
    count = 65_535
    length = 1 << 22
    entries = b"".join(
        struct.pack("<HHII", tag, 7, length, 8 + 2 + 12 * count) for tag in range(count)
    )
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + b"A" * length
    tracemalloc.start()
    try:
        about(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 25


@pytest.mark.parametrize(
    "data",
    [
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08",  # a directory inside itself
        b"FUJIFILMCCD-RAW",
        bytes.fromhex("0000000c4a584c200d0a870a") + b"\0\0\0\0Exif\xff\xff\xff\xff",
        b"\0\0\0\x18ftypcrx " + b"\0\0\0\x01moov" + b"\xff" * 8,
    ],
)
def test_damaged_heads_raise_nothing(data: bytes) -> None:
    assert embedded(data, "a.jpg") == (Metadata(), ())


SAMPLES = [FORMATS[form]() for form in ("JPEG", "PNG", "WebP", "TIFF", "JPEG XL", "PSD", "CR3")]
SAMPLES.append(with_iptc(SAMPLES[0], record(25, b"dog"), record(55, b"20071206")))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 255)), max_size=12),
    st.none() | st.integers(0, 3_000),
)
def test_mutated_files_never_raise(
    data: bytes, changes: list[tuple[int, int]], length: int | None
) -> None:
    mutable = bytearray(data[:length])
    for at, byte in changes:
        if mutable:
            mutable[at % len(mutable)] = byte
    metadata, texts = embedded(bytes(mutable), "a.jpg")
    assert metadata.taken is None or is_plausible(metadata.taken)
    assert all(texts)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.text(max_size=60))
def test_random_bytes_and_names_never_raise(data: bytes, name: str) -> None:
    embedded(data, name)
    exif.facts(exif.directories(b"II*\0\x08\0\0\0" + data))
    iptc.facts(b"\x1c" + data)
    iptc.resources(b"8BIM" + data)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_in_any_field_is_read_or_left_out(text: str) -> None:
    names = ("exif:GPSLatitude", "exif:GPSAltitude", "xmp:Rating", "xmp:CreateDate", "dc:title")
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    told = packet("".join(f"<{name}>{escaped}</{name}>" for name in names))
    embedded(saved("JPEG", xmp=told), "a.jpg")


def test_blocks_of_a_plain_picture_are_empty() -> None:
    found = blocks(saved("PNG"))
    assert (found.iptc, found.xmp, found.exif.main) == (b"", b"", {})
