"""The query language: what people type, what it means, and what is said where it means nothing."""

import base64
import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from searchx.errors import BadInput
from searchx.filters import (
    MAX_DEPTH,
    MAX_FILTERS,
    All,
    Between,
    Either,
    Filter,
    Has,
    Is,
    Near,
    Not,
    Within,
)
from searchx.pictures.images import _FORMATS, _NAMES
from searchx.query import (
    MAX_PARTS,
    WEIGHTS,
    notice,
    parse,
    parse_filter,
    query_as_json,
    query_from_json,
    written,
)
from searchx.query.values import KEYS
from searchx.records import Part, Query
from tests.test_filters import FILTERS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "search.md"
JULY = Between("taken", "2019-07-01 00:00:00", "2019-07-31 23:59:59.999999")


def year(first: int, last: int | None = None) -> Between:
    return Between("taken", f"{first}-01-01 00:00:00", f"{last or first}-12-31 23:59:59.999999")


# What a person types


@pytest.mark.parametrize(
    "text",
    [
        "a dog on a beach",
        "black-and-white t-shirt",
        "3-5 people",
        "a dog - a beach",
        "a dog \u2013 a beach, Wien\u2013Linz, \u20135 \u2013 \u2013\u2013snow",
        "call me Ishmael \u2014Melville",
        "- -- --- --snow -5 -3.5 -> -_- +1 +49 c++ ->x",
        "note: buy milk",
        "near: the river, title: unknown",
        "https://example.org/a?b=c C:\\photos\\a.jpg re:zero 10:30",
        "i like:) name:( kind:",
        "E=mc^2 snow^2",
        "dog (golden retriever) OR cat",
        "(kind:image)s ) ( () ((",
        '5" nail and 6" nail',
        '"unbalanced',
        "2021-2019 1000-2000 2019 2019-07 12019-2021",
        "狗在海滩 🐶 👩‍👩‍👧 קיץ été",
        "fodler:trips tag:dog",
        "don't | know * what ^ this & is",
    ],
)
def test_words_stay_words(text: str) -> None:
    assert parse(text) == Query(text=text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  a\tdog \n on\u3000a  beach ", "a dog on a beach"),
        ("a\x00dog\x1b[31m", "a dog [31m"),
        ("\ufeffa\u200b dog\u202e", "a dog"),
        ('"a dog" on “a beach”', "a dog on a beach"),
        ('"kind:image" "-snow" "2019-2021"', "kind:image -snow 2019-2021"),
        ('he said "hello", loud', 'he said "hello", loud'),
        ('"" ""', ""),
        ('"5"" nail"', '5" nail'),
        ("half \ud83d a dog", "half \ufffd a dog"),
        ("", ""),
    ],
)
def test_blanks_quotes_and_unseen_signs_are_put_in_order(text: str, words: str) -> None:
    assert parse(text) == Query(text=words)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("-snow", (Part("snow", weight=-1),)),
        ("\u2212snow \uff0drain", (Part("snow", weight=-1), Part("rain", weight=-1))),
        ("\u2013snow \u2012rain", (Part("snow", weight=-1), Part("rain", weight=-1))),
        (
            '\u2013"deep snow"^0.3 \u2013like:7',
            (Part("deep snow", weight=-0.3), Part(like=7, weight=-1)),
        ),
        ("-black-and-white", (Part("black-and-white", weight=-1),)),
        ("-snow, -rain.", (Part("snow", weight=-1), Part("rain", weight=-1))),
        ('-"deep snow"^0.3', (Part("deep snow", weight=-0.3),)),
        (
            "-“deep snow” -„tiefer Schnee“",
            (Part("deep snow", weight=-1), Part("tiefer Schnee", weight=-1)),
        ),
        ("-「深い雪」^2", (Part("深い雪", weight=-2),)),
        ("+snow +“hills”", (Part("snow"), Part("hills"))),
        ('"green hills"^2 +"green hills"^2', (Part("green hills", weight=2),) * 2),
        ("-❄️ -雪", (Part("❄️", weight=-1), Part("雪", weight=-1))),
        ("+img:a^0.5", (Part(image=Path("a"), weight=0.5),)),
        ("img:a.jpg^0.5", (Part(image=Path("a.jpg"), weight=0.5),)),
        ("-img:x^y.png", (Part(image=Path("x^y.png"), weight=-1),)),
        ('-img:"my pictures/a^2"^2', (Part(image=Path("my pictures/a^2"), weight=-2),)),
        ("+img:C:\\a|b.png", (Part(image=Path("C:\\a|b.png")),)),
        ("-like:7 +like:8^.25", (Part(like=7, weight=-1), Part(like=8, weight=0.25))),
    ],
)
def test_signs_and_weights_make_parts(text: str, parts: tuple[Part, ...]) -> None:
    assert parse(text) == Query(parts=parts)


def test_the_first_picture_and_item_without_a_sign_are_the_short_form() -> None:
    asked = parse("in snow img:a.png like:3 like:4 img:b.png")
    parts = (Part(like=4), Part(image=Path("b.png")))
    assert asked == Query("in snow", Path("a.png"), 3, parts)


def test_a_home_folder_is_found_unless_it_is_quoted() -> None:
    assert parse("img:~/a.png").image == Path.home() / "a.png"
    assert parse('img:"~/a.png"').image == Path("~/a.png")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("folder:trips", Is("folder", "trips")),
        ("Folder:Trips", Is("folder", "Trips")),
        ("\uff46older\uff1a旅行\uff12", Is("folder", "旅行\uff12")),
        ("camera:canon|nikon", Either((Is("camera", "canon"), Is("camera", "nikon")))),
        ('camera:"canon r5"|nikon|', Either((Is("camera", "canon r5"), Is("camera", "nikon")))),
        ("\u2013folder:a \u2012(ext:b)", All((Not(Is("folder", "a")), Not(Is("ext", "b"))))),
        ("-folder:a|b", Not(Either((Is("folder", "a"), Is("folder", "b"))))),
        ("+folder:a", Is("folder", "a")),
        ("folder:a folder:b", All((Is("folder", "a"), Is("folder", "b")))),
        ("-ext:.GIF", Not(Is("ext", "GIF"))),
        ("path:*/a?c.jpg", Is("path", "*/a?c.jpg")),
        ('keyword:"red ""car"""', Is("keyword", 'red "car"')),
        ("orientation:Portrait", Is("orientation", "portrait")),
        ("has:place|Camera", Either((Has("place"), Has("camera")))),
        ("is:duplicate", Between("copies", 2)),
        ("2019-2021", year(2019, 2021)),
        ("2019\u20132021, 2019..2021", All((year(2019, 2021), year(2019, 2021)))),
        ("-2019-2021", Not(year(2019, 2021))),
        ("taken:2019", year(2019)),
        ("taken:\uff12\uff10\uff11\uff19", year(2019)),
        ("taken:2019-07", JULY),
        ("taken:2019/7", JULY),
        ("taken:2019-07-04", Between("taken", "2019-07-04 00:00:00", "2019-07-04 23:59:59.999999")),
        (
            "taken:2019-07-04T12:30",
            Between("taken", "2019-07-04 12:30:00", "2019-07-04 12:30:59.999999"),
        ),
        ("taken:2020-02", Between("taken", "2020-02-01 00:00:00", "2020-02-29 23:59:59.999999")),
        ("taken:>2019", Between("taken", "2020-01-01 00:00:00")),
        ("taken:>=2019", Between("taken", "2019-01-01 00:00:00")),
        ("taken:<2019-07", Between("taken", None, "2019-06-30 23:59:59.999999")),
        ("taken:≤2019", Between("taken", None, "2019-12-31 23:59:59.999999")),
        ("taken:=2019", year(2019)),
        ("taken:2019-2021", year(2019, 2021)),
        ("taken:2019-", Between("taken", "2019-01-01 00:00:00")),
        ("taken:..2019", Between("taken", None, "2019-12-31 23:59:59.999999")),
        ("taken:2019-07..2019-07", JULY),
        ("taken:2019|2021", Either((year(2019), year(2021)))),
        ("rating:4-", Between("rating", 4)),
        ("rating:4+", Between("rating", 4)),
        ("rating:4-5", Between("rating", 4, 5)),
        ("rating:-1", Between("rating", -1, -1)),
        ("rating:..3", Between("rating", None, 3)),
        ("width:>=1000", Between("width", 1000)),
        ("width:>1000px", Between("width", 1001)),
        ("height:<1000", Between("height", None, 999)),
        ("size:>2mp", Between("pixels", 2_000_001)),
        ("size:12MP", Between("pixels", 11_500_000, 12_499_999)),
        ("size:1.5mb", Between("bytes", 1_450_000, 1_549_999)),
        ("size:500kb-2mb", Between("bytes", 500_000, 2_000_000)),
        ("size:1\u20132mp", Between("pixels", 1_000_000, 2_000_000)),
        ("bytes:<=1mib", Between("bytes", None, 2**20)),
        ("altitude:-50m..1.5km", Between("altitude", -50, 1500)),
        ("altitude:-50--10", Between("altitude", -50, -10)),
        ("copies:>1 id:7", All((Between("copies", 2), Between("id", 7, 7)))),
        ("near:48.2,16.4,10km", Near(48.2, 16.4, 10)),
        ("near:-33.9,-151.2,500m", Near(-33.9, -151.2, 0.5)),
        ("near:48.2, 16.4, 10mi", Near(48.2, 16.4, 16.09344)),
        ("near:48.2\uff0c16.4\uff0c10", Near(48.2, 16.4, 10)),
        ('near:"48.2, 16.4, 10 km"', Near(48.2, 16.4, 10)),
        ("box:-47,170,-40,-170", Within(-47, 170, -40, -170)),
        ("(folder:a OR ext:gif)", Either((Is("folder", "a"), Is("ext", "gif")))),
        ("-(folder:a has:place)", Not(All((Is("folder", "a"), Has("place"))))),
        ("(kind:text OR folder:a)", Either((Is("kind", "text"), Is("folder", "a")))),
    ],
)
def test_filters_mean(text: str, where: Filter) -> None:
    assert parse(text) == Query(where=where)
    assert parse_filter(text.replace(",", "") if "21," in text else text) == where


@pytest.mark.parametrize(
    ("text", "to"),
    [
        ("kind:image", "image"),
        ("kind:Text", "text"),
        ("kind:image|text", "both"),
        ("-kind:image", "text"),
        ("kind:image|text -kind:text", "image"),
    ],
)
def test_kind_beside_words_says_what_to_find(text: str, to: str) -> None:
    assert parse(f"{text} a dog") == Query("a dog", to=to)  # type: ignore[arg-type]


def test_kind_among_filters_is_a_filter() -> None:
    assert parse_filter("kind:image") == Is("kind", "image")


def test_a_whole_query() -> None:
    asked = parse('a dog +img:b.jpg^0.5 on a beach kind:image -snow folder:trips -ext:gif "at 9"')
    assert asked == Query(
        "a dog on a beach at 9",
        parts=(Part(image=Path("b.jpg"), weight=0.5), Part("snow", weight=-1)),
        where=All((Is("folder", "trips"), Not(Is("ext", "gif")))),
        to="image",
    )


# What means nothing


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('a camera:"canon', 'camera:"canon: the quote is not closed'),
        ('-"deep snow', '-"deep snow: the quote is not closed'),
        ('-"deep"snow', '-"deep"snow: a blank follows the closing quote'),
        ('camera:"canon"x|y', 'camera:"canon"x: a blank or | follows'),
        ('-""', '-"": write words between the quotes'),
        ("-snow^0", "-snow^0: a weight is a number from 0.001 to 1000"),
        ("-snow^nan", "-snow^nan: a weight"),
        ("-snow^1e999", "-snow^1e999: a weight"),
        ("+img:a.png^-2", "+img:a.png^-2: a weight"),
        ("like:7^inf", "like:7^inf: a weight"),
        ("like:abc", "like:abc: write the id of one item"),
        ("like:0", "like:0: write the id"),
        ("like:99999999999999999999", "write the id"),
        ("like:7|8", "like:7|8: write the id of one item"),
        ("img:http://example.org/a.png", "nothing is fetched"),
        ("kind:images", "kind:images: no such kind; did you mean image?"),
        ("kind:image kind:text", "kind:text: nothing is left to find; write kind:image|text"),
        ("camera:|", "camera:|: write a value behind the colon"),
        ("taken:yesterday", "taken:yesterday: write 2019, 2019-07, 2019-07-04"),
        ("taken:2019-13", "taken:2019-13: there is no such day"),
        ("taken:2019-07-2019-09", "taken:2019-07-2019-09: write 2019"),
        ("taken:2021-2019", "taken:2021-2019: the range ends before it begins"),
        ("taken:>9999", "nothing is later than the year 9999"),
        ("size:large", "size:large: write a number or a range, such as size:>2mp"),
        ("size:2", "size:2: the unit is kb, mb, gb, kib, mib, gib, mp, such as size:>2mp"),
        ("size:1mp-2mb", "both ends in bytes or both in megapixels"),
        ("width:3mb", "width:3mb: the unit is px"),
        ("rating:4stars", "rating:4stars: leave out the unit, such as rating:4-5"),
        ("rating:5-4", "rating:5-4: the range ends before it begins"),
        ("id:9999999999999999999", "a number of at most 18 digits"),
        ("near:48.2,16.4", "near:48.2,16.4: write a point and a distance"),
        ("near:48.2,16.4,10miles", "write a point and a distance"),
        ("near:vienna,16.4,10km", '"vienna" is no number of degrees'),
        ("near:95,16.4,10km", "latitude goes from -90 to 90, not 95"),
        ("box:1,2,3", "write south, west, north, east"),
        ("box:49,16,47,17", "south is above north"),
        ("has:gps", "there is taken, place"),
        ("has:plaec", "did you mean place?"),
        ("is:dupe", "write is:duplicate"),
        ("orientation:wide", "there is landscape, portrait, square"),
        ("folder:" + "x" * 5000, "at most 4,096 characters"),
    ],
)
def test_an_error_names_the_bit_and_what_would_be_right(text: str, told: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse(text)
    assert told in str(raised.value)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "write a filter"),
        ("dog", "dog: no filter; write one as key:value"),
        ("fodler:trips", "fodler:trips: no such filter; did you mean folder?"),
        ("price:10-50", "and meta.price if that was added with items"),
        ("meta.price<=9.5", "meta.price<=9.5: no filter; write it as meta.price:<=9.5"),
        ("-kamera:x", "-kamera:x: no such filter; did you mean camera"),
        ("folder: trips", "folder:: write the value behind the colon"),
        ("-snow", "-snow: only filters can stand here"),
        ("img:a.png", "img:a.png: only filters can stand here"),
        ("(folder:a", "write ) at the end"),
        ("folder:a )", "nothing was opened before this )"),
        ("folder:a OR", "write filters on both sides of OR"),
        ("()", "write a filter"),
        ("(" * 50, "32 levels deep"),
    ],
)
def test_where_takes_filters_alone(text: str, told: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse_filter(text)
    assert told in str(raised.value)


def test_or_binds_less_than_standing_side_by_side() -> None:
    either = Either((Is("folder", "a"), All((Is("folder", "b"), Has("place")))))
    assert parse_filter("folder:a OR folder:b AND has:place") == either


def test_a_server_opens_no_files() -> None:
    for text in ("img:/etc/passwd", "a dog -img:x", 'img:"a b"'):
        with pytest.raises(BadInput, match="no files are opened here"):
            parse(text, files=False)
    with pytest.raises(BadInput, match="no files are opened here"):
        query_from_json({"file": "/etc/passwd"})


# Laws

SIGNS = '+-"|^()<>=.,: *?\t\x00\u201c\u201d\u201e\u00ab\u00bb\u3000\uff1a\uff02\uff10\u96ea\u2744'
BITS = ("kind:image", "img:", "like:", "OR", "taken:2019", "has:place", "2019-2021", "48.2", "10km")
SYNTAX = st.sampled_from([*(f"{key}:" for key in KEYS), *BITS, *SIGNS, "2mp", "dog", "\ud800"])
TYPED = st.lists(SYNTAX | st.text(max_size=4), max_size=14).map("".join) | st.text(max_size=40)


@given(TYPED)
@example('"a ""b ""c')
@example("-" * 40)
def test_whatever_is_typed_gives_a_query_or_one_line(text: str) -> None:
    try:
        asked = parse(text)
    except BadInput as error:
        assert "\n" not in str(error)
    else:
        assert parse(written(asked)) == asked
        assert query_from_json(query_as_json(asked), files=True) == asked


@given(TYPED)
def test_whatever_stands_for_a_filter_gives_one_or_one_line(text: str) -> None:
    try:
        asked = parse_filter(text)
    except BadInput as error:
        assert "\n" not in str(error)
    else:
        again = written(Query(where=asked))
        assert parse(again) == Query(where=asked)


@given(TYPED)
def test_an_offer_can_be_asked_and_excludes_more(text: str) -> None:
    offered = notice(f"{text} beach without people")
    if offered is not None:
        assert parse(offered).parts[-1].weight < 0


SEEN = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Zs"]), min_size=1, max_size=8
)
LINE = st.lists(SEEN, min_size=1, max_size=4).map(" ".join)
WEIGHT = st.floats(*WEIGHTS).flatmap(lambda one: st.sampled_from([one, -one]))
PATHS = LINE.filter(lambda text: "http" not in text).map(Path)
IDS = st.integers(1, 2**63 - 1)
PARTS = st.one_of(
    st.builds(Part, text=LINE, weight=WEIGHT),
    st.builds(Part, image=PATHS, weight=WEIGHT),
    st.builds(Part, like=IDS, weight=WEIGHT),
)
SHORT = st.floats(-89, 89).map(lambda number: round(number, 5))
SAYABLE: st.SearchStrategy[Filter] = st.one_of(
    st.builds(Is, st.sampled_from(["folder", "path", "name", "camera", "keyword", "title"]), LINE),
    st.integers(-1, 10**9).map(lambda low: Between("rating", low, low + 5)),
    st.datetimes().filter(lambda day: day.year >= 1000).map(lambda day: Between("taken", str(day))),
    st.builds(Near, SHORT, SHORT, st.floats(0.001, 9999).map(lambda number: round(number, 6))),
    st.builds(Has, st.sampled_from(["place", "camera"])),
)
COMPOSED: st.SearchStrategy[Filter] = st.recursive(
    SAYABLE,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda of: All(tuple(of))),
        st.lists(inner, min_size=2, max_size=3).map(lambda of: Either(tuple(of))),
        st.builds(Not, inner),
    ),
    max_leaves=6,
)
QUERIES = st.builds(
    Query,
    text=st.just("") | LINE,
    image=st.none() | PATHS,
    like=st.none() | IDS,
    parts=st.lists(PARTS, max_size=3).map(tuple),
    where=st.none() | COMPOSED,
    to=st.sampled_from([None, "image", "text", "both"]),
)


@given(QUERIES)
def test_what_is_written_asks_the_same(query: Query) -> None:
    assert parse(written(query)) == query


@given(QUERIES)
def test_json_asks_the_same(query: Query) -> None:
    document = json.loads(json.dumps(query_as_json(query)))
    assert query_from_json(document, files=True) == query


@given(FILTERS)
def test_any_filter_is_written_or_one_line_tells_why_not(where: Filter) -> None:
    try:
        text = written(Query(where=where))
    except BadInput as error:
        assert "\n" not in str(error)
    else:
        parse(text)


@given(st.text(max_size=60))
def test_quoted_text_is_only_words(text: str) -> None:
    quoted = '"' + text.replace('"', '""').replace("\uff02", "\uff02\uff02") + '"'
    asked = parse(quoted)
    assert asked == Query(text=asked.text)


# Limits


@pytest.mark.parametrize(
    "text",
    [
        "dog " * 25_000,
        "x" * 100_000,
        "(" * 100_000,
        "( " * 50_000,
        '"' * 100_001,
        '"a ' * 33_333,
        "\u201e" * 100_000,
        "\u201ea " * 33_333,
        "\u00aba " * 33_333,
        "- " * 50_000,
        "-" * 100_000,
        "^" * 100_000,
        "-x^" * 33_333,
        "(kind:image " * 8_000,
        "( " * 25_000 + ") " * 25_000,
        "( " * 31 + "(kind:image) " * 7_000,
        "img:" + "a^" * 50_000,
        "folder:" * 14_000,
        "near:" + "1, " * 33_000,
        "taken:" + "1" * 100_000,
        "size:" + "9" * 100_000 + "mp",
        "\x00\u200b" * 50_000,
        "没有" * 50_000,
        "without no not " * 7_000,
        "a beach without people " * 43,
    ],
    ids=lambda text: text[:12],
)
def test_long_texts_are_read_in_a_moment(text: str) -> None:
    begin = time.process_time()
    for read in (parse, parse_filter, notice):
        try:
            read(text)
        except BadInput as error:
            assert len(str(error)) < 250
    assert time.process_time() - begin < 5  # a pass over the text takes less than a tenth


def test_parts_and_filters_are_counted() -> None:
    assert len(parse("-a " * MAX_PARTS).parts) == MAX_PARTS
    with pytest.raises(BadInput, match="at most 64 parts"):
        parse("-a " * (MAX_PARTS + 1))
    assert parse("id:" + "|".join(["1"] * MAX_FILTERS)).where is not None
    with pytest.raises(BadInput, match="at most 256 filters"):
        parse("id:" + "|".join(["1"] * (MAX_FILTERS + 1)))
    with pytest.raises(BadInput, match="at most 64"):
        query_from_json({"parts": [{"text": "a"}] * (MAX_PARTS + 1)})


def test_parentheses_too_deep_are_words() -> None:
    def nested(levels: int) -> str:
        return "(" * levels + "has:place" + ")" * levels

    assert parse(nested(MAX_DEPTH)) == Query(where=Has("place"))
    assert parse(nested(MAX_DEPTH + 1)) == Query(nested(MAX_DEPTH + 1))
    with pytest.raises(BadInput, match="32 levels deep"):
        parse_filter(nested(MAX_DEPTH + 1))


# JSON


def test_a_picture_travels_in_base64_with_and_without_a_data_address() -> None:
    content = bytes(range(256))
    plain = base64.b64encode(content).decode()
    wrapped = base64.encodebytes(content).decode()
    for text in (plain, wrapped, f"data:image/png;base64,{plain}", f"data:;base64,{plain}"):
        assert query_from_json({"image": text}) == Query(image=content)
        assert query_from_json({"parts": [{"image": text, "weight": -0.5}]}) == Query(
            parts=(Part(image=content, weight=-0.5),)
        )
    assert query_from_json(query_as_json(Query(image=content))) == Query(image=content)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "the query: write an object"),
        ({"txet": "a"}, "the query: no key txet; did you mean text?"),
        ({"text": 5}, "text: write a text"),
        ({"like": True}, "like: write the id"),
        ({"like": 2**63}, "like: write the id"),
        ({"to": "images"}, "to: did you mean image?"),
        ({"parts": {}}, "parts: write a list"),
        ({"parts": [{}]}, "parts[0]: write one of text, image and like"),
        ({"parts": [{"text": "a", "like": 1}]}, "parts[0]: write one of"),
        ({"parts": [{"text": "a", "weight": 0}]}, "parts[0].weight: a weight is a number"),
        ({"parts": [{"text": "a", "weight": "2"}]}, "parts[0].weight: a weight is a number"),
        ({"parts": [{"text": "a", "weight": float("nan")}]}, "parts[0].weight: a weight"),
        ({"parts": [{"text": "a", "weight": 10**400}]}, "parts[0].weight: a weight"),
        ({"parts": [{"text": "a", "where": {}}]}, "parts[0]: no key where"),
        ({"image": "no base 64!"}, "image: write the bytes of a picture in base64"),
        ({"image": "data:text/plain,hello"}, "image: write the bytes"),
        ({"image": ""}, "image: write the bytes"),
        ({"image": 5}, "image: write the bytes"),
        ({"image": "YQ==", "file": "a"}, "file: write image or file, not both"),
        ({"where": {"not": 3}}, "where.not: write an object"),
    ],
)
def test_an_error_in_json_tells_what_and_where(document: object, told: str) -> None:
    with pytest.raises(BadInput) as raised:
        query_from_json(document)
    assert told in str(raised.value)


def test_what_has_no_words_is_told() -> None:
    for query in (
        Query(image=b"bytes"),
        Query(where=Not(Either())),
        Query(where=Is("folder", "a\nb")),
        Query(parts=(Part("a", weight=1e9),)),
        Query(where=Between("width")),
    ):
        with pytest.raises(BadInput):
            written(query)


# Negation in plain words

EXCLUDES = {
    "a beach without people": "a beach -people",
    "A beach without any people.": "A beach -people",
    "a beach with no people": "a beach -people",
    "beach with no people in winter": "beach in winter -people",
    "a street without cars or people": "a street -cars -people",
    "a street without cars and people": "a street -cars -people",
    "a man without a hat and a dog": "a man and a dog -hat",
    "a forest without deep snow": 'a forest -"deep snow"',
    "a beach, but not crowded": "a beach -crowded",
    "a car that is not red": "a car -red",
    "cars which are not red": "cars -red",
    "a dog not on a leash": 'a dog -"on a leash"',
    "a woman not wearing glasses": 'a woman -"wearing glasses"',
    "flowers excluding roses": "flowers -roses",
    "no people on a beach": "on a beach -people",
    "beach no people": "beach -people",
    "city but no cars": "city -cars",
    "a room w/o furniture": "a room -furniture",
    "without people": "-people",
    "a beach without people kind:image -snow": "a beach -people kind:image -snow",
    "Strand ohne Menschen": "Strand -Menschen",
    "ein Haus mit keinen Fenstern": "ein Haus -Fenstern",
    "Wald und kein Schnee": "Wald -Schnee",
    "没有人的海滩": "海滩 -人",
    "海滩\uff0c没有人": "海滩 -人",
    "海滩 不要船": "海滩 -船",
}
NOTHING_EXCLUDED = [
    "no entry sign",
    "a no parking sign on a wall",
    "no smoking",
    "no dogs allowed sign",
    "no u-turn road sign",
    "not only dogs but cats",
    "not just a dog",
    "no man's land",
    "no country for old men",
    "no one on the street",
    "chanel no 5",
    "bottle of no. 5",
    "say no to drugs",
    "yes or no",
    "why not",
    "do not disturb sign on a door",
    "do not enter",
    "forget-me-not flowers",
    "a no-fly zone",
    "doctors without borders",
    "without a doubt the best beach",
    "road without end",
    "a dog, not far from the house",
    "not so big a house",
    "to be or not to be",
    "a knot in a rope",
    "snow in november",
    '"a beach without people"',
    'a sign that says "no dogs"',
    "a beach -people",
    "nothing but sand",
    "no",
    "without",
    "a beach without",
    "not",
    "the note without, however",
    "keine Ahnung",
    "有没有狗",
    "没有问题",
    "kind:image folder:without",
]


@pytest.mark.parametrize(("text", "offered"), EXCLUDES.items())
def test_plain_words_that_exclude_are_noticed(text: str, offered: str) -> None:
    assert notice(text) == offered


@pytest.mark.parametrize("text", NOTHING_EXCLUDED)
def test_signs_sayings_and_quotes_are_left_alone(text: str) -> None:
    assert notice(text) is None


# The page of the documentation


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Give the rows of the table whose first heading this is; | within code is no border."""
    found = re.search(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", page(), re.MULTILINE)
    assert found, heading
    bars = [re.sub(r"\\\|", "\0", line) for line in found[1].splitlines()]
    return [[cell.strip().replace("\0", "|") for cell in line.split("|")[1:-1]] for line in bars]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_page_has_every_filter_with_an_example_that_works() -> None:
    keys = [key for row in rows("Filter") for key in code(row[0])]
    assert sorted(keys) == sorted(f"{key}:" for key in KEYS)
    for row in rows("Filter"):
        used = [re.sub(r"^-|:.*", "", one) for example in code(row[1]) for one in example.split()]
        assert {f"{key}:" for key in used if key in KEYS} == set(code(row[0]))
        for one in code(row[1]):
            assert parse_filter(one)


def test_the_page_has_every_format_that_a_picture_can_have() -> None:
    row = next(row for row in rows("Filter") if code(row[0]) == ["format:"])
    names = {_NAMES.get(name, name) for name in _FORMATS} | {"JPEG XL", "RAW"}
    assert sorted(code(row[2])) == sorted(name.lower() for name in names)


def test_what_the_page_says_of_a_query_holds() -> None:
    for row in rows("Query"):
        for one in code(row[0]):
            asked = parse(one)
            assert asked.every_part or asked.where or asked.to, one
            assert parse(written(asked)) == asked


def test_what_the_page_offers_is_offered() -> None:
    for row in rows("Typed"):
        assert notice(code(row[0])[0]) == code(row[1])[0]


def test_the_json_of_the_page_says_the_same_as_its_words() -> None:
    blocks = re.findall(r"```(\w+)\n(.*?)```", page(), re.DOTALL)
    typed = [block for language, block in blocks if language == "text"]
    documents = [block for language, block in blocks if language == "json"]
    assert len(typed) == len(documents) >= 1
    for words, document in zip(typed, documents, strict=True):
        assert query_from_json(json.loads(document)) == parse(words)


def test_the_limits_of_the_page_are_those_that_hold() -> None:
    told = re.search(r"(\d+) parts, (\d+) filters, (\d+) levels", page())
    assert told
    assert [int(one) for one in told.groups()] == [MAX_PARTS, MAX_FILTERS, MAX_DEPTH]


def test_filters_that_are_joined_without_parentheses_are_an_error() -> None:
    for text in ("camera:canon OR camera:nikon", "a dog camera:canon OR (rating:4-)"):
        with pytest.raises(BadInput, match="between parentheses"):
            parse(text)
    for text in (
        "sink OR swim",
        'camera:canon "OR" camera:nikon',
        "camera:canon OR swim rating:4-",
    ):
        assert "OR" in parse(text).text
