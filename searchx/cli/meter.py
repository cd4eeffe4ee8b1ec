"""How far a long run is: a bar on a terminal, elsewhere a line now and then, on stderr."""

import time
from collections.abc import Iterable
from typing import Final, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.style import Style
from rich.text import Text

from searchx.records import Pace
from searchx.terminal import pace_text, visible

SECONDS_BETWEEN_LINES: Final = 10.0


class Meter:
    """Shows how a run goes on. Fits ``indexer.pipeline.Progress``.

    Until ``found`` is called, the model is being loaded. Counts are of files; the rate is of
    images embedded since then, beside what each stage would manage alone.
    """

    def __init__(
        self, console: Console, verb: str, seconds_between_lines: float = SECONDS_BETWEEN_LINES
    ) -> None:
        self._console = console
        self._verb = verb
        self._seconds_between_lines = seconds_between_lines
        self._waiting = console.status("loading the model")
        self._bar: _Bar | None = None
        self._pace = Pace()
        self._total = self._done = self._images = 0
        self._started = self._said = 0.0

    def __enter__(self) -> Self:
        self._waiting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.stop()
        self.rest()

    def say(self, line: str) -> None:
        """Tell something before the counting starts; a download draws its own bar below it."""
        self._waiting.stop()
        self._console.print(visible(line), markup=False, highlight=False)

    def found(self, files: int, unchanged: int) -> None:
        """Start to count; called again, take the counts in place of those before.

        Each call counts the whole run, as far as is known then; what was done stays done.
        """
        self._waiting.stop()
        if not self._started:
            self._started = self._said = time.monotonic()
        self._total = files - unchanged
        if self._total and self._console.is_terminal:
            self._draw()

    def done(self, files: int, images: int, texts: int, pace: Pace) -> None:
        """Count on."""
        self._done += files
        self._images += images
        self._pace = pace
        if self._bar is not None:
            self._draw()
        elif time.monotonic() - self._said >= self._seconds_between_lines:
            self._said = time.monotonic()
            self._console.print(self.line(), markup=False, highlight=False)

    def rest(self) -> None:
        """End a run; the next ``found`` counts from nothing."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None
        self._pace = Pace()
        self._total = self._done = self._images = 0
        self._started = self._said = 0.0

    def line(self) -> str:
        """Give in one line how far the run is: counts, rate, and the rates of its stages."""
        shown = f"{self._verb}: {self._done:,} of {self._total:,}"
        if rate := self._rate():
            shown += f", {rate}"
        stages = pace_text(self._pace)
        return f"{shown} ({stages})" if stages else shown

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        return f"{self._images / seconds:,.1f} images/s" if self._images else ""

    def _draw(self) -> None:
        if self._bar is None:
            self._bar = _Bar(self._console, self._verb)
        self._bar.draw(self._done, self._total, self._rate(), pace_text(self._pace))


class _Bar(Progress):
    """A bar, and a line below it that says what the stages manage; gone when it is stopped."""

    def __init__(self, console: Console, verb: str) -> None:
        self._below = Text(no_wrap=True, overflow="ellipsis", style=Style(dim=True))
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self.add_task(verb, total=None, rate="")
        self.start()

    def draw(self, done: int, total: int, rate: str, below: str) -> None:
        """Show the counts, the rate, and the line."""
        self._below.plain = below
        self.update(self._task, completed=done, total=total, rate=rate)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Give what rich draws."""
        yield from super().get_renderables()
        if self._below.plain:
            yield self._below
