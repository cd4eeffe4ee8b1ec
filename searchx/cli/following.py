"""What ``searchx index --watch`` prints: one line a run."""

from datetime import datetime

from searchx.cli.meter import Meter
from searchx.cli.output import print_json_line, print_lines, tell
from searchx.records import Report, Skipped
from searchx.terminal import change_line, visible


class Follower:
    """Prints what each run changed, with the time; as JSON every run, as lines only changes.

    A run lists skipped files and notes again; only those that no run before had count.
    """

    def __init__(self, meter: Meter, as_json: bool) -> None:
        self._meter = meter
        self._as_json = as_json
        self._has_begun = False
        self._skipped: frozenset[Skipped] = frozenset()
        self._notes: frozenset[str] = frozenset()

    def told(self, report: Report) -> None:
        """Print what a run did; called after each one."""
        self._meter.rest()
        now = datetime.now().astimezone()
        if self._as_json:
            print_json_line({"time": now.isoformat(timespec="seconds")} | report.as_dict())
        else:
            self._print_changes(now, report)
        self._skipped |= frozenset(report.skipped)  # a run may be over a part of a source only
        self._notes |= frozenset(report.notes)
        if not self._has_begun:
            self._has_begun = True
            tell("searchx follows changes (stop with Ctrl-C)")

    def _print_changes(self, now: datetime, report: Report) -> None:
        fresh = frozenset(report.skipped) - self._skipped
        line = change_line(report, len(fresh))
        if line:
            print_lines([f"{now:%Y-%m-%d %H:%M:%S}  {line}"])
        for note in report.notes:
            if note not in self._notes:
                tell(f"note: {visible(note)}")
