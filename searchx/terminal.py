"""What people see at the prompt: tables and lines. JSON never comes through here."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.filesize import decimal
from rich.style import Style
from rich.table import Table
from rich.text import Text

from searchx.reasons import matched

if TYPE_CHECKING:
    from indexer.migrating import Migrated
    from searchx.comparing import Comparison
    from searchx.evaluation import Evaluation, Retrieval
    from searchx.labels.tagging import Tagged
    from searchx.measures import Figure
    from searchx.presets import Preset
    from searchx.progress import RunProgress
    from searchx.records import Explained, Hit, Pace, Report, Skipped
    from searchx.spaces.progress import Migration
    from searchx.status import IndexState, SourceState, Status
    from searchx.upkeep import Verdict

SKIPPED_SHOWN: Final = 20
PASSAGE: Final = 100  # characters of a text that are shown
_BAND: Final = len("strong")
WAYS: Final = {
    "exact": "each compared exactly",
    "exact within": "each that passes the filter compared exactly",
    "index": "by the index, the best compared exactly",
    "index within": "by the index among those that pass the filter, the best compared exactly",
    "filter": "by the filter alone, the last indexed first",
}
_MEASURES: Final = {"recall@1": "R@1", "recall@5": "R@5", "recall@10": "R@10", "mrr": "MRR"}
_STAGES: Final = {
    "checking": "the vectors are being checked",
    "building": "the index is being built",
    "switching": "what came meanwhile is being embedded",
}
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


def hit_line(hit: "Hit", folder: Path, *, is_weak: bool = False, explain: bool = False) -> Text:
    """Give a hit on one line: band, path, the passage of a text, and what made it a hit.

    With `is_weak` all of it is dim. With `explain` the numbers stand behind it.
    """
    item = hit.item
    line = Text(f"{hit.band:<{_BAND}}  " if hit.band else "", Style(dim=is_weak))
    line.append(visible(_short(item.path, folder)), Style(bold=not is_weak, link=_link(item.path)))
    if item.locations[0].fragment:
        line.append(f" ({visible(item.locations[0].fragment)})")
    if len(item.locations) > 1:
        line.append(f" (+{len(item.locations) - 1} more)", Style(dim=True))
    if item.text is not None:
        line.append("  " + visible(_passage(item.text)))
    if found := matched(hit.why):
        line.append(f"  matched: {visible(found)}", Style(dim=True))
    if hit.alike:
        line.append(f"  +{len(hit.alike)} alike", Style(dim=True))
    if explain:
        line.append(f"  {_numbers(hit)}", Style(dim=True))
    return line


def plan_lines(explained: Sequence["Explained"]) -> Iterator[str]:
    """Tell how each kind was searched: what was compared, how deep, and how long it took."""
    for one in explained:
        yield f"{one.kind}s: {WAYS.get(one.way, one.way)}"
        yield f"  {one.passing:,} of {one.items:,} items pass, {one.tail:,} newer than the index"
        if one.nprobe:
            yield f"  nprobe {one.nprobe:,}, depth {one.depth:,}"
        if one.recall:
            measured = ", ".join(f"{side} {share:.3f}" for side, share in one.recall.items())
            yield f"  recall@10 when the index was built: {measured}"
        spent = ", ".join(f"{step} {spent:.1f}" for step, spent in one.milliseconds.items())
        yield f"  milliseconds: {spent or 'none'}"


def report_lines(report: "Report", more: str) -> Iterator[str]:
    """Tell what a run of the indexer did; `more` is the command that lists all skipped files."""
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
    if stages := pace_text(report.pace):
        yield f"each stage alone: {stages}"
    if report.skipped:
        yield "skipped:"
    yield from _first_skipped(report.skipped, more)
    for note in report.notes:
        yield f"note: {visible(note)}"


def change_line(report: "Report", skipped: int) -> str:
    """Tell in one line what a run changed; empty where it changed nothing.

    `skipped` counts the files that were skipped in this run and not in the one before.
    """
    counts = {
        "added": report.added,
        "moved": report.moved,
        "updated": report.updated,
        "removed": report.removed,
        "skipped": skipped,
    }
    changes = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f"{changes}; {report.seconds:,.1f} s" if changes else ""


def pace_text(pace: "Pace") -> str:
    """Name the rates of the stages that are known, in images a second, and the slowest of them."""
    rates = {"decode": pace.decode, "embed": pace.embed, "write": pace.write}
    known = {stage: rate for stage, rate in rates.items() if rate > 0}
    shown = ", ".join(f"{stage} {_rate(rate)}/s" for stage, rate in known.items())
    if len(known) < 2:
        return shown
    return f"{shown}; slowest: {min(known, key=lambda stage: known[stage])}"


def skipped_lines(skipped: Sequence["Skipped"]) -> Iterator[str]:
    """Name files that were not indexed, with the reasons."""
    for one in skipped:
        yield f"{visible(one.path)}: {visible(one.reason)}"


def status_lines(status: "Status", more: str) -> Iterator[str]:
    """Tell what a library holds; `more` is the command that lists all skipped files."""
    yield f"library  {visible(str(status.directory))}"
    yield f"model    {visible(status.space.name) if status.space else 'none yet'}"
    yield f"holds    {status.images:,} images and {status.texts:,} texts, in {status.files:,} files"
    if status.bytes is not None:
        yield f"size     {decimal(status.bytes)} (library format {status.format})"
    for number, source in enumerate(status.states):
        yield ("sources  " if number == 0 else "         ") + _source(source)
    for number, one in enumerate(status.indexes):
        yield ("index    " if number == 0 else "         ") + _index(one)
    if status.progress is not None:
        yield f"running  {progress_text(status.progress)}"
    if status.migration is not None:
        yield f"models   {migration_text(status.migration)}"
    yield f"skipped  {status.skips:,}"
    yield from _first_skipped(status.skipped, more)


def progress_text(progress: "RunProgress") -> str:
    """Tell how far a run of the indexer is."""
    if progress.stage == "building":
        return "the files are read, the index is being built"
    line = f"indexing, {progress.done:,} of {progress.files:,} files ({progress.share:.0%})"
    if stages := pace_text(progress.pace):
        line += f"; {stages}"
    return line


def migration_text(migration: "Migration") -> str:
    """Tell of the space beside the one that serves, in one line."""
    name = visible(migration.space.name)
    done = f"{migration.done:,} of {migration.items:,} items ({migration.share:.0%})"
    if migration.has_served:
        return f"{name} is kept to go back to, {done}; searchx migrate --rollback, or --drop-old"
    if not migration.is_running:
        return f"the migration to {name} has stopped, {done}; searchx migrate goes on with it"
    if migration.stage != "embedding":
        return f"migrating to {name}, {done}; {_STAGES[migration.stage]}"
    rate = f", {migration.rate:,.1f} items/s" if migration.rate else ""
    left = migration.seconds_left
    more = "" if left is None else f", about {timedelta(seconds=round(left))} left"
    return f"migrating to {name}, {done}{rate}{more}"


def migrated_lines(made: "Migrated", library: str) -> Iterator[str]:
    """Tell what a migration did; `library` repeats that option in the commands it suggests."""
    rate = f" ({made.images_per_second:,.1f} images/s)" if made.images_per_second else ""
    shortened = f", shortened: {made.shortened:,}" if made.shortened else ""
    yield f"embedded: {made.embedded:,}{shortened}; {made.seconds:,.1f} s{rate}"
    if made.cut:
        yield (
            f"texts longer than the model takes in, of which it sees the beginning: {made.cut:,}; "
            "index their sources with --deep to cut them anew"
        )
    if made.missing:
        yield f"not embedded: {len(made.missing):,}"
        yield from _first_skipped(made.missing, f"searchx migrate{library} --json")
    before, after = visible(made.before.name), visible(made.after.name)
    if made.switched:
        yield f"the library is searched by {after} now; {before} is kept"
        yield f"next: searchx migrate{library} --drop-old    (or --rollback)"
    else:
        yield f"nothing was switched: the library is searched by {before}"


def verdict_lines(verdict: "Verdict") -> Iterator[str]:
    """Tell what is wrong with a library and what to do, or what was checked."""
    for problem in verdict.problems:
        yield visible(f"{problem.what}: {problem.which}; {problem.do}")
    checked = (
        f"{verdict.items:,} items, {verdict.vectors:,} vectors, {verdict.snapshots:,} snapshots"
    )
    found = f"{len(verdict.problems):,} problems" if verdict.problems else "nothing is wrong"
    yield f"{found}; checked: {checked}"


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


def comparison_table(comparison: "Comparison") -> Table:
    """Lay out both models and their difference, each with its interval; recalls in percent."""
    title = f"{comparison.images:,} images, {comparison.texts:,} texts; intervals of 95 %"
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for name in (*map(visible, comparison.models), "difference"):
        table.add_column(Text(name), justify="right")
    for way, measures in comparison.measures.items():
        for name, one in measures.items():
            scale, digits = (1, 3) if name == "mrr" else (100, 1)
            shown = (_interval(each, scale, digits) for each in (one.one, one.other))
            difference = _interval(one.difference, scale, digits, "+")
            label = f"{way.replace('_', ' ')}, {_MEASURES.get(name, name)}"
            table.add_row(label, *shown, difference)
    return table


def _interval(figure: "Figure", scale: int, digits: int, sign: str = "") -> str:
    """Show a figure and its bounds; `sign` "+" where it says which way."""
    value, *bounds = (
        f"{scale * one:{sign}.{digits}f}"
        for one in (figure.value, figure.low, figure.high)
        if one is not None
    )
    return f"{value} [{', '.join(bounds)}]" if bounds else value


def tagged_lines(tagged: "Tagged", *, dry_run: bool) -> Iterator[str]:
    """Tell how many pictures got each label, or would get it."""
    width = max(len(f"{count:,}") for count in tagged.labels.values())
    for name, count in tagged.labels.items():
        yield f"{count:>{width},}  {visible(name)}"
    verb = "would get" if dry_run else "have"
    yield f"{tagged.tagged:,} of {tagged.pictures:,} pictures {verb} a label or more"


def presets_table(presets: Mapping["Preset", bool]) -> Table:
    """Lay out the models by purpose; the value tells which one the library uses."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "purpose", "model", "download", "work", "recall", "languages", "licence"):
        table.add_column(name, justify="right" if name in ("download", "work") else "left")
    for preset, in_use in presets.items():
        size = f"{preset.megabytes:,} MB" if preset.megabytes else "none"
        work = f"{preset.gigaflops:,.0f} GF" if preset.gigaflops else "-"
        recall = "{:.1f} / {:.1f}".format(*preset.recall) if preset.recall else "-"
        mark, languages = "*" if in_use else "", preset.languages
        table.add_row(
            mark, preset.purpose, preset.model, size, work, recall, languages, preset.licence
        )
    return table


def _source(source: "SourceState") -> str:
    when = source.indexed
    shown = f", indexed {when.astimezone():%Y-%m-%d %H:%M}" if when else ""
    return f"{visible(source.held.path)} (files: {source.held.files:,}{shown})"


def _index(index: "IndexState") -> str:
    """Tell how a kind is searched, and what was measured of it."""
    recalls = ", ".join(f"{side} {recall:.3f}" for side, recall in index.recall.items())
    how = "each compared" if index.factory == "exact" else index.factory
    how += f", recall@10: {recalls}" if recalls else ""
    how += f", {index.tail:,} newer than it" if index.tail and index.built else ""
    return f"{index.kind}s: {how}"


def _numbers(hit: "Hit") -> str:
    """Give the numbers behind a hit, those that there are; rounded as its JSON is, and then more.

    So they are the same whether the hit was found here or came from a server.
    """
    was_compared = hit.relevance is not None or hit.why.rank is not None
    numbers = [f"cosine {round(hit.score, 6):.3f}"] if was_compared else []
    numbers += [] if hit.relevance is None else [f"relevance {round(hit.relevance, 4):.3f}"]
    numbers += [f"rank {hit.why.rank:,} by its vector"] if hit.why.rank else []
    numbers += [f"lowered by {round(hit.why.lowered, 6):.3f}"] if hit.why.lowered else []
    return ", ".join(numbers) or "not compared"


def _percents(one: "Retrieval") -> list[str]:
    recalls = (one.recall_at_1, one.recall_at_5, one.recall_at_10)
    return [
        *(f"{100 * recall:.1f}" for recall in recalls),
        f"{one.mrr:.3f}",
        f"{one.median_rank:g}",
    ]


def _first_skipped(skipped: Sequence["Skipped"], more: str) -> Iterator[str]:
    yield from (f"  {line}" for line in skipped_lines(skipped[:SKIPPED_SHOWN]))
    if len(skipped) > SKIPPED_SHOWN:
        yield f"  and {len(skipped) - SKIPPED_SHOWN:,} more; {more} lists them"


def _rate(rate: float) -> str:
    """Give a rate, with a decimal where it is small enough to need one."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:,.1f}"


def _short(path: str, folder: Path) -> str:
    """Give the path as seen from the folder, where it lies below it."""
    return str(Path(path).relative_to(folder)) if Path(path).is_relative_to(folder) else path


def _link(path: str) -> str | None:
    """Give the address of a file; what a program added is in none."""
    return Path(path).as_uri() if Path(path).is_absolute() else None


def _passage(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= PASSAGE else text[: PASSAGE - 1].rstrip() + "…"
