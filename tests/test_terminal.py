from pathlib import Path

import pytest
from rich.style import Style

from searchx.reasons import matched
from searchx.records import (
    Band,
    Explained,
    Hit,
    Item,
    Location,
    Pace,
    Report,
    Skipped,
    Why,
)
from searchx.terminal import (
    SKIPPED_SHOWN,
    change_line,
    hit_line,
    pace_text,
    plan_lines,
    report_lines,
    visible,
)

MORE = "searchx status --skipped"


def text_at(location: Location) -> Hit:
    return Hit(Item(1, "text", "00", (location,), text="A dog\n jumps."), 0.25)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (Location("/s", "/s/a.txt"), "a.txt  A dog jumps."),
        (Location("/s", "/s/a.txt", "line 7", line=7), "a.txt (line 7)  A dog jumps."),
        (
            Location("/s", "/s/a.pdf", "page 3, line 7", page=3, line=7),
            "a.pdf (page 3, line 7)  A dog jumps.",
        ),
        (Location("/s", "/s/a.jpg", "caption"), "a.jpg (caption)  A dog jumps."),
        (
            Location("/s", "/s/a.jpg", "a.txt, line 2", line=2),
            "a.jpg (a.txt, line 2)  A dog jumps.",
        ),
        (Location("/s", "/s/a.csv", "row 12"), "a.csv (row 12)  A dog jumps."),
        (Location("/s", "/s/a\nb.csv", "row\n1"), "a\\nb.csv (row\\n1)  A dog jumps."),
    ],
)
def test_a_text_is_shown_with_its_file_and_its_place_in_it(location: Location, shown: str) -> None:
    assert hit_line(text_at(location), Path("/s")).plain == shown


def test_a_picture_at_several_places_says_so() -> None:
    places = (Location("/s", "/s/a.jpg"), Location("/s", "/s/b.jpg"))
    item = Item(1, "image", "00", places, width=3, height=2)
    assert hit_line(Hit(item, 0.5), Path("/elsewhere")).plain == "/s/a.jpg (+1 more)"


PICTURE = Item(1, "image", "00", (Location("/s", "/s/a.jpg"),), width=3, height=2)


@pytest.mark.parametrize("band", ["strong", "fair", "weak"])
def test_the_paths_of_all_bands_stand_below_each_other(band: Band) -> None:
    line = hit_line(Hit(PICTURE, 0.5, 0.25, band), Path("/s")).plain
    assert line == f"{band:6}  a.jpg"


def test_a_hit_tells_its_words_and_those_like_it() -> None:
    hit = Hit(PICTURE, 0.5, 0.9, "strong", Why(1, ("red", "\x1b"), ("name", "caption")), (7, 8))
    line = hit_line(hit, Path("/s")).plain
    assert line == "strong  a.jpg  matched: red, \\x1b, in the file name and the caption  +2 alike"


def test_the_numbers_of_a_hit_are_told_where_they_are_asked_for() -> None:
    hit = Hit(PICTURE, 0.3125, 0.9, "strong", Why(1_200, lowered=0.04))
    numbers = "cosine 0.312, relevance 0.900, rank 1,200 by its vector, lowered by 0.040"
    assert hit_line(hit, Path("/s"), explain=True).plain == f"strong  a.jpg  {numbers}"
    assert "0.3" not in hit_line(hit, Path("/s")).plain
    assert hit_line(Hit(PICTURE, 0.0), Path("/s"), explain=True).plain == "a.jpg  not compared"


def test_what_does_not_match_is_dim() -> None:
    dim, plain = (hit_line(Hit(PICTURE, 0.1), Path("/s"), is_weak=one) for one in (True, False))
    assert dim.plain == plain.plain
    assert Style.parse(str(dim.style)).dim
    assert not Style.parse(str(plain.style)).dim


def test_a_plan_tells_what_was_compared_and_how_long_it_took() -> None:
    plan = Explained(
        *("image", "index within", 4_000, 1_200, 12, 32, 640),
        recall={"text": 0.981, "image": 0.99},
        milliseconds={"embed": 12.04, "vectors": 1.5},
    )
    assert list(plan_lines([plan, Explained("text", "exact", 9, 9, 9, 0, 0, {}, {})])) == [
        "images: by the index among those that pass the filter, the best compared exactly",
        "  1,200 of 4,000 items pass, 12 newer than the index",
        "  nprobe 32, depth 640",
        "  recall@10 when the index was built: text 0.981, image 0.990",
        "  milliseconds: embed 12.0, vectors 1.5",
        "texts: each compared exactly",
        "  9 of 9 items pass, 9 newer than the index",
        "  milliseconds: none",
    ]


@pytest.mark.parametrize(
    ("why", "told"),
    [
        (Why(), ""),
        (Why(words=("sea",), fields=("keyword",)), "sea, in the keywords"),
        (
            Why(words=("a", "b"), fields=("name", "caption", "passage")),
            "a, b, in the file name, the caption and the text",
        ),
        (Why(words=tuple("abcdefgh"), fields=()), "a, b, c, d, e, f and 2 more"),
    ],
)
def test_the_words_that_matched_are_told_with_where_they_stand(why: Why, told: str) -> None:
    assert matched(why) == told


@pytest.mark.parametrize(
    ("pace", "shown"),
    [
        (Pace(), ""),
        (Pace(embed=27.4), "embed 27/s"),
        (Pace(210, 27, 1900), "decode 210/s, embed 27/s, write 1,900/s; slowest: embed"),
        (Pace(0.52, 27, 900), "decode 0.5/s, embed 27/s, write 900/s; slowest: decode"),
        (Pace(0, 27, 3), "embed 27/s, write 3.0/s; slowest: write"),
    ],
)
def test_rates_of_stages_name_the_slowest_of_those_known(pace: Pace, shown: str) -> None:
    assert pace_text(pace) == shown


def test_a_report_tells_counts_stages_skipped_files_and_notes() -> None:
    report = Report(
        added=1_200,
        unchanged=3,
        skipped=[Skipped("/s/a\n.jpg", "not a picture")],
        embedded=1_200,
        seconds=46.0,
        images_per_second=26.09,
        pace=Pace(210, 27, 900),
        notes=["/s/b is missing; what is known of it stays, forget it with --prune"],
    )
    assert list(report_lines(report, MORE)) == [
        "1,200 added, 3 unchanged, 0 moved, 0 updated, 0 removed, 1 skipped; "
        "46.0 s (26.1 images/s)",
        "each stage alone: decode 210/s, embed 27/s, write 900/s; slowest: embed",
        "skipped:",
        "  /s/a\\n.jpg: not a picture",
        "note: /s/b is missing; what is known of it stays, forget it with --prune",
    ]


def test_a_report_of_many_skipped_files_names_the_command_that_lists_them() -> None:
    skipped = [Skipped(f"/s/{number}.jpg", "not a picture") for number in range(1_050)]
    lines = list(report_lines(Report(skipped=skipped), MORE))
    assert len(lines) == SKIPPED_SHOWN + 3
    assert lines[-1] == f"  and 1,030 more; {MORE} lists them"


def test_a_change_is_one_line_and_no_change_is_none() -> None:
    assert change_line(Report(unchanged=10, seconds=3), 0) == ""
    report = Report(added=2, moved=1_000, removed=1, unchanged=10, seconds=3.14)
    assert change_line(report, 0) == "2 added, 1,000 moved, 1 removed; 3.1 s"
    assert change_line(Report(seconds=0.04), 2) == "2 skipped; 0.0 s"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("写真 café", "写真 café"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\udcff", "\\udcff"),
        ("\u202egpj", "\\u202egpj"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown
