"""What a run is asked to do: which sources, by which rules, and whether those rules fit them.

Asked before anything is changed: a slip in a pattern or in the name of a column must not cost
what the library knows.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from indexer.datasets.corpora import Columns, lacking
from indexer.files import source_root, walk
from indexer.formats import form_of
from indexer.rules import Rules
from searchx.catalog import Catalog
from searchx.errors import BadInput, NoLibrary


@dataclass(frozen=True, slots=True)
class Asked:
    """The sources of a run, and the rules that are new to them."""

    roots: tuple[str, ...]  # those named, and the known ones that lie in them
    rules: dict[str, Rules] = field(default_factory=dict)  # of those named, where they were given
    notes: tuple[str, ...] = ()  # on sources that are left as they are


def asked_of(
    sources: Sequence[Path | str],
    known: Sequence[str],
    library: Path,
    rules: Rules | None = None,
    prune: bool = False,
) -> Asked:
    """Tell what a run is about; without sources, all that are known.

    A source that the given rules do not fit is left as it is, and noted. Raises BadInput for one
    that is neither there nor known or is the library itself, and where the rules fit none of
    those named. With `prune` a pattern may leave out everything.
    """
    named = _roots(sources, known)
    _keep_apart([*named, *inside(named, known)], library)
    wrong = {}
    if rules is not None:
        found = {root: _misfit(root, rules, known, library, prune) for root in named}
        wrong = {root: line for root, line in found.items() if line}
    if wrong and len(wrong) == len(set(named)):
        raise BadInput(next(iter(wrong.values())))
    fitting = [root for root in named if root not in wrong]
    roots = dict.fromkeys([*fitting, *inside(fitting, known)])
    return Asked(
        roots=tuple(root for root in roots if root not in wrong),
        rules={} if rules is None else dict.fromkeys(fitting, rules),
        notes=tuple(f"{line}; nothing of it was changed" for line in wrong.values()),
    )


def check_sources(
    library: Path,
    sources: Sequence[Path | str],
    rules: Rules | None = None,
    prune: bool = False,
) -> None:
    """Make sure that there is something to index; raises BadInput as ``asked_of`` does.

    No library is made for that.
    """
    asked_of(sources, _sources_of(library), library, rules, prune)


def columns_of(rules: Rules) -> Columns:
    """Give the columns that rules name."""
    return Columns(rules.text_columns, rules.image_column)


def _sources_of(library: Path) -> tuple[str, ...]:
    try:
        with closing(Catalog.open(library)) as catalog:
            return catalog.sources()
    except NoLibrary:
        return ()


def _roots(sources: Sequence[Path | str], known: Sequence[str]) -> list[str]:
    """Give the roots that are named, or all; raises BadInput for one neither there nor known."""
    if not sources and not known:
        raise BadInput("the library knows no source yet; name a folder or a file to index")
    kept = frozenset(known)
    return [_root(source, kept) for source in sources] or list(known)


def _root(source: Path | str, known: Collection[str]) -> str:
    path = os.path.abspath(source) if source != "" else ""
    return path if path in known else source_root(source)


def inside(named: Iterable[str], known: Sequence[str]) -> list[str]:
    """Give the known roots that lie in those named: a run is about them as well."""
    roots = set(named)
    return [one for one in known if any(above in roots for above in _above(one))]


def _above(path: str) -> Iterator[str]:
    """Give the folders that a path lies in, the nearest first."""
    while (above := os.path.dirname(path)) != path:
        yield above
        path = above


def _keep_apart(roots: Iterable[str], library: Path) -> None:
    """Refuse the library as a source, also where there is none yet but its folder is."""
    for root in roots:
        if os.path.exists(root) and os.path.exists(library) and os.path.samefile(root, library):
            raise BadInput(f"{root} is the library itself; choose another --library for it")


def _misfit(root: str, rules: Rules, known: Sequence[str], library: Path, prune: bool) -> str:
    """Say why rules do not fit a source; empty where they do."""
    if os.path.isdir(root):
        return "" if prune else _bad_patterns(root, rules, known, library)
    columns = columns_of(rules)
    if form_of(root) != "corpus" or columns == Columns():
        return ""
    reason = lacking(root, columns)
    return reason and f"{root}: {reason}"


def _bad_patterns(root: str, rules: Rules, known: Sequence[str], library: Path) -> str:
    """Say that patterns leave out all that a folder holds; a folder may hold nothing at all."""
    apart = [one for one in known if one != root]
    if not rules.patterns or _holds(root, rules, library, apart):
        return ""
    if not _holds(root, Rules(), library, apart):
        return ""
    line = f"no file in {root} fits {rules.patterns}; correct the pattern"
    return f"{line}, or add --prune to forget all that it held" if root in known else line


def _holds(root: str, rules: Rules, library: Path, apart: Collection[str]) -> bool:
    """Tell whether a folder holds a file to index by these rules; ends with the first one."""
    return any(folder.files for folder in walk(root, rules, library, apart=apart))
