import io

from rich.console import Console

from searchx.cli.meter import Meter
from searchx.records import Pace

PACE = Pace(decode=210.4, embed=27.2, write=900.0)
STAGES = "decode 210/s, embed 27/s, write 900/s; slowest: embed"


def elsewhere() -> Console:
    """A console that is no terminal, such as a log file."""
    return Console(file=io.StringIO(), force_terminal=False, width=200)


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_line_tells_counts_rate_and_which_stage_is_slowest() -> None:
    meter = Meter(elsewhere(), "indexing")
    meter.found(1_500, 500)
    meter.done(100, 80, 20, Pace())
    meter.done(20, 20, 0, PACE)
    line = meter.line()
    assert line.startswith("indexing: 120 of 1,000, ")
    assert line.endswith(f" images/s ({STAGES})")


def test_what_is_not_known_is_not_shown() -> None:
    meter = Meter(elsewhere(), "indexing")
    meter.found(10, 0)
    meter.done(5, 0, 5, Pace())
    assert meter.line() == "indexing: 5 of 10"
    meter.done(5, 0, 5, Pace(write=3.25))
    assert meter.line() == "indexing: 10 of 10 (write 3.2/s)"


def test_counts_that_come_later_replace_those_before() -> None:
    meter = Meter(elsewhere(), "indexing")
    meter.found(10, 0)
    meter.done(5, 0, 5, Pace())
    meter.found(40, 10)
    assert meter.line() == "indexing: 5 of 30"


def test_a_run_after_another_counts_from_nothing() -> None:
    meter = Meter(elsewhere(), "indexing")
    meter.found(10, 0)
    meter.done(10, 10, 0, PACE)
    meter.rest()
    meter.found(3, 0)
    assert meter.line() == "indexing: 0 of 3"


def test_elsewhere_than_on_a_terminal_there_is_a_line_now_and_then() -> None:
    console = elsewhere()
    with Meter(console, "indexing", seconds_between_lines=0) as meter:
        meter.found(2, 0)
        meter.done(1, 1, 0, PACE)
        meter.done(1, 1, 0, PACE)
    lines = said(console).splitlines()
    assert [line.partition(",")[0] for line in lines] == ["indexing: 1 of 2", "indexing: 2 of 2"]
    assert all(line.endswith(STAGES + ")") for line in lines)


def test_a_short_run_elsewhere_says_nothing() -> None:
    console = elsewhere()
    with Meter(console, "indexing") as meter:
        meter.found(2, 0)
        meter.done(2, 2, 0, PACE)
    assert said(console) == ""


def test_a_terminal_shows_a_bar_and_the_stages_below_it() -> None:
    console = terminal()
    with Meter(console, "indexing") as meter:
        meter.found(100, 0)
        meter.done(40, 40, 0, PACE)
    assert "40/100" in said(console)
    assert STAGES in said(console)


def test_a_terminal_shows_a_bar_for_each_run() -> None:
    console = terminal()
    with Meter(console, "indexing") as meter:
        for files in (100, 7):
            meter.found(files, 0)
            meter.done(files, files, 0, PACE)
            meter.rest()
    assert "100/100" in said(console) and "7/7" in said(console)


def test_where_nothing_is_new_there_is_no_bar() -> None:
    console = terminal()
    with Meter(console, "indexing") as meter:
        meter.found(100, 100)
    assert "0/0" not in said(console)


def test_a_message_is_printed_as_it_is() -> None:
    console = elsewhere()
    with Meter(console, "indexing") as meter:
        meter.say("download of [red]a model[/]\x1b[31m")
    assert said(console) == "download of [red]a model[/]\\x1b[31m\n"
