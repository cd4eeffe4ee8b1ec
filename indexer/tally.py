"""What a run of the indexer has done so far, and the report of it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from searchx.records import Pace, Report, Skipped

Digests: TypeAlias = tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """Counts files, but for `images` and `texts`, which were embedded."""

    unchanged: int = 0
    updated: int = 0
    added: int = 0
    removed: int = 0
    moved: int = 0
    images: int = 0
    texts: int = 0
    embed_seconds: float = 0.0
    write_seconds: float = 0.0
    decode_rate: float = 0.0  # images a second
    is_half_read: bool = False  # something was embedded of a file that will be read again
    may_move: bool = False  # something is gone: it may turn up among what is new
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _new: Counter[int] = field(default_factory=Counter)  # files added, by a hash of what they hold

    def gain(self, before: Digests, now: Digests, is_retold: bool) -> None:
        """Count a file that was read; `is_retold`: what stands beside it has changed."""
        if not before:
            self.added += 1
            if self.may_move:
                self._new[hash(now)] += 1
        elif before == now and not is_retold:
            self.unchanged += 1
        else:
            self.updated += 1

    def lose(self, files: Iterable[Digests]) -> None:
        """Count files that are gone: moved where a new file holds the same, else removed."""
        for digests in files:
            if self._new[hash(digests)] > 0:
                self._new[hash(digests)] -= 1
                self.added -= 1
                self.moved += 1
            else:
                self.removed += 1

    def pace(self) -> Pace:
        """Tell how fast each stage alone would be."""
        return Pace(
            self.decode_rate,
            self.images / self.embed_seconds if self.embed_seconds else 0.0,
            self.images / self.write_seconds if self.write_seconds else 0.0,
        )

    def report(self, seconds: float) -> Report:
        """Sum up a run that took so many seconds."""
        return Report(
            added=self.added,
            unchanged=self.unchanged,
            moved=self.moved,
            updated=self.updated,
            removed=self.removed,
            skipped=tuple(dict.fromkeys(self.skipped)),  # pictures of one stem share a sidecar
            embedded=self.images + self.texts,
            seconds=seconds,
            images_per_second=self.images / max(seconds, 1e-9),
            pace=self.pace(),
            notes=tuple(self.notes),
        )
