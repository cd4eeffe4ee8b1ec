"""What a server tells of a whole library, from its JSON shapes: clusters, duplicates, status."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from searchx.catalog import HeldSource
from searchx.documents import Document, item_of
from searchx.exploring import Cluster, Level
from searchx.gathering import Copy, DuplicateGroup, Duplicates
from searchx.progress import RunProgress
from searchx.records import Item, Pace, Skipped, Space
from searchx.spaces.progress import Migration
from searchx.status import IndexState, SourceState, Status


def named_in_level(document: Document) -> Iterable[int]:
    """Give the ids of the items that stand for clusters."""
    return (id for one in document["parts"] for id in one["typical"])


def level_of(document: Document, items: Mapping[int, Item]) -> Level:
    """Read a level; an item that stands for a cluster and is gone is left out."""
    return Level(
        kind=document["kind"],
        trail=tuple(_cluster(one, items) for one in document["trail"]),
        parts=tuple(_cluster(one, items) for one in document["parts"]),
        items=tuple(map(item_of, document["hits"])),
        scores=tuple(one["score"] for one in document["hits"]),
        cursor=document["cursor"],
    )


def named_in_groups(document: Document) -> Iterable[int]:
    """Give the ids of the items that are in groups of duplicates."""
    return (copy["id"] for one in document["groups"] for copy in (one["best"], *one["others"]))


def duplicates_of(document: Document, items: Mapping[int, Item]) -> Duplicates:
    """Read groups of duplicates; a group of which an item is gone is left out."""
    return Duplicates(
        groups=tuple(
            DuplicateGroup(
                best=_copy(one["best"], items),
                others=tuple(_copy(copy, items) for copy in one["others"]),
                reason=one["reason"],
                bytes=one["bytes"],
            )
            for one in document["groups"]
            if all(copy["id"] in items for copy in (one["best"], *one["others"]))
        ),
        **{name: document[name] for name in ("count", "files", "bytes", "threshold", "cursor")},
    )


def status_of(document: Document, space: Space | None, skipped: tuple[Skipped, ...]) -> Status:
    """Read a status; the space and the skipped files are asked for by themselves."""
    progress = document["progress"]
    return Status(
        directory=Path(document["library"]),
        space=space,
        states=tuple(map(_source, document["held"])),
        indexes=tuple(
            IndexState(**{**one, "built": _moment(one["built"])}) for one in document["indexes"]
        ),
        reasons=tuple((one["reason"], one["files"]) for one in document["reasons"]),
        progress=None if progress is None else _progress(progress),
        skipped=skipped,
        migration=_migration(document.get("migration")),
        **{name: document[name] for name in ("images", "texts", "files", "bytes", "format")},
    )


def _cluster(document: Document, items: Mapping[int, Item]) -> Cluster:
    typical = tuple(items[one] for one in document["typical"] if one in items)
    return Cluster(document["at"], document["size"], tuple(document["words"]), typical)


def _copy(document: Document, items: Mapping[int, Item]) -> Copy:
    return Copy(
        item=items[document["id"]],
        path=document["path"],
        bytes=document["bytes"],
        modified=_moment(document["modified"]),
        likeness=document["likeness"],
    )


def _source(document: Document) -> SourceState:
    held = HeldSource(**{name: document[name] for name in HeldSource.__dataclass_fields__})
    return SourceState(held, _moment(document["indexed"]))


def _progress(document: Document) -> RunProgress:
    known = ("files", "done", "images", "texts", "stage")
    return RunProgress(
        **{name: document[name] for name in known},
        pace=Pace(**document["pace"]),
        started=_seconds(document["started"]),
        written=_seconds(document["written"]),
    )


def _migration(document: Document | None) -> Migration | None:
    if document is None:
        return None
    return Migration(
        space=Space(document["model"], document["digest"], document["dim"]),
        has_served=document["state"] == "kept",
        is_running=document["state"] == "running",
        stage=document["stage"] or "embedding",
        rate=document["items_per_second"],
        began=_seconds(document["began"]),
        **{name: document[name] for name in ("items", "done")},
    )


def _moment(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)


def _seconds(written: str | None) -> float:
    moment = _moment(written)
    return 0.0 if moment is None else moment.timestamp()
