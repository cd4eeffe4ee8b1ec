"""What people see at the prompt: progress, tables and lines. JSON never comes through here."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.style import Style
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from searchx.encoder import Preset
    from searchx.evaluation import Evaluation, Retrieval
    from searchx.records import Hit, Report, Skipped
    from searchx.search import Status

SECONDS_BETWEEN_LINES: Final = 10.0
SKIPPED_SHOWN: Final = 20
PASSAGE: Final = 100  # characters of a text that are shown
WIDTH_ELSEWHERE: Final = 200  # columns, where the output is no terminal: nothing is cut to fit

# Control characters, lone surrogates, line separators and marks that turn the writing around:
# a file name may hold any of them, and the terminal would obey.
_HIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def visible(text: str) -> str:
    """Give a text on one line, what cannot be shown in it as backslash escapes."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def console(stderr: bool = False) -> Console:
    """Give a console for results, or for messages; markup in texts and paths means nothing."""
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = WIDTH_ELSEWHERE
    return made


class Meter:
    """Shows how far a long run is: a bar on a terminal, elsewhere a line now and then.

    Until ``found`` is called, the model is being loaded. Counts are of files; the rate is of
    images. Fits ``indexer.pipeline.Progress``.
    """

    def __init__(self, console: Console, verb: str) -> None:
        self._console = console
        self._verb = verb
        self._waiting = console.status("loading the model")
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._total = self._done = self._images = 0
        self._started = self._said = 0.0

    def __enter__(self) -> Self:
        self._waiting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.stop()
        self._bar.stop()

    def say(self, line: str) -> None:
        """Tell something before the counting starts; a download draws its own bar below it."""
        self._waiting.stop()
        self._console.print(visible(line))

    def found(self, files: int, unchanged: int) -> None:
        """Start to count."""
        self._waiting.stop()
        self._started = self._said = time.monotonic()
        self._total = files - unchanged
        if self._total:
            self._bar.start()
            self._bar.add_task(self._verb, total=self._total, rate="")

    def done(self, files: int, images: int, texts: int) -> None:
        """Count on."""
        self._done += files
        self._images += images
        rate = self._images / max(time.monotonic() - self._started, 1e-9)
        shown = f"{rate:,.1f} images/s" if self._images else ""
        if self._console.is_terminal and self._total:
            self._bar.update(self._bar.task_ids[0], completed=self._done, rate=shown)
        elif time.monotonic() - self._said > SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            line = f"{self._verb}: {self._done:,} of {self._total:,}, {shown}".rstrip(", ")
            self._console.print(line)


def hit_line(hit: "Hit", folder: Path) -> Text:
    """Give a hit on one line: score, path, and the passage of a text."""
    item = hit.item
    line = Text(f"{hit.score:6.3f}  ")
    line.append(visible(_short(item.path, folder)), Style(bold=True, link=_link(item.path)))
    if item.locations[0].fragment:
        line.append(f" ({visible(item.locations[0].fragment)})")
    if len(item.locations) > 1:
        line.append(f" (+{len(item.locations) - 1} more)", Style(dim=True))
    if item.text is not None:
        line.append("  " + visible(_passage(item.text)))
    return line


def report_lines(report: "Report") -> Iterator[str]:
    """Tell what a run of the indexer did."""
    counts = {
        "added": report.added,
        "unchanged": report.unchanged,
        "moved": report.moved,
        "updated": report.updated,
        "removed": report.removed,
        "skipped": len(report.skipped),
    }
    files = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    rate = f" ({report.images_per_second:,.1f} images/s)" if report.images_per_second else ""
    yield f"{files}; {report.seconds:,.1f} s{rate}"
    if report.skipped:
        yield "skipped:"
    yield from skipped_lines(report.skipped[:SKIPPED_SHOWN])
    if len(report.skipped) > SKIPPED_SHOWN:
        yield f"  and {len(report.skipped) - SKIPPED_SHOWN:,} more; searchx status lists them"
    for note in report.notes:
        yield f"note: {visible(note)}"


def skipped_lines(skipped: Sequence["Skipped"]) -> Iterator[str]:
    """Name files that were not indexed, with the reasons."""
    for one in skipped:
        yield f"  {visible(one.path)}: {visible(one.reason)}"


def status_lines(status: "Status") -> Iterator[str]:
    """Tell what a library holds."""
    yield f"library  {visible(str(status.directory))}"
    yield f"model    {visible(status.space.name) if status.space else 'none yet'}"
    yield f"holds    {status.images:,} images and {status.texts:,} texts, in {status.files:,} files"
    yield f"size     {decimal(status.bytes)}"
    for number, source in enumerate(status.sources):
        yield ("sources  " if number == 0 else "         ") + visible(source)
    yield f"skipped  {len(status.skipped):,}"
    yield from skipped_lines(status.skipped)


def evaluation_table(evaluation: "Evaluation") -> Table:
    """Lay out the metrics of both directions; recalls in percent."""
    title = f"{evaluation.model}: {evaluation.images:,} images, {evaluation.texts:,} texts"
    table = Table(title=Text(visible(title)), title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for name in ("R@1", "R@5", "R@10", "MRR", "median rank"):
        table.add_column(name, justify="right")
    table.add_row("text to image", *_percents(evaluation.text_to_image))
    table.add_row("image to text", *_percents(evaluation.image_to_text))
    return table


def presets_table(presets: Mapping["Preset", bool]) -> Table:
    """Lay out the models by purpose; the value tells which one the library uses."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "purpose", "model", "download", "licence", "note"):
        table.add_column(name, justify="right" if name == "download" else "left")
    for preset, in_use in presets.items():
        size = f"{preset.megabytes:,} MB" if preset.megabytes else "none"
        mark = "*" if in_use else ""
        table.add_row(mark, preset.purpose, preset.model, size, preset.licence, preset.note)
    return table


def _percents(one: "Retrieval") -> list[str]:
    recalls = (one.recall_at_1, one.recall_at_5, one.recall_at_10)
    return [
        *(f"{100 * recall:.1f}" for recall in recalls),
        f"{one.mrr:.3f}",
        f"{one.median_rank:g}",
    ]


def _short(path: str, folder: Path) -> str:
    """Give the path as seen from the folder, where it lies below it."""
    return str(Path(path).relative_to(folder)) if Path(path).is_relative_to(folder) else path


def _link(path: str) -> str:
    return Path(path).as_uri()


def _passage(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= PASSAGE else text[: PASSAGE - 1].rstrip() + "…"
