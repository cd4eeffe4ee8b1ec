"""Labels that may be given: words, groups that exclude each other, and phrases that stand for them.

One entry a line, or an argument: ``dog``, or ``dog: a dog; a puppy`` with phrases instead of the
word, or ``day | night``, of which a picture gets one at most.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from searchx.errors import BadInput

MAX_LABELS: Final = 10_000
MAX_LENGTH: Final = 200  # characters of a label or a phrase
_MAX_BYTES: Final = 8 << 20  # of a file


@dataclass(frozen=True, slots=True)
class Label:
    """A word that may be given, and what stands for it."""

    name: str
    phrases: tuple[str, ...] = ()  # whole texts; none: the word in the prompts of the model

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(self.phrases)}" if self.phrases else self.name


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Groups of labels; those in one group exclude each other."""

    groups: tuple[tuple[Label, ...], ...]

    @classmethod
    def of(cls, given: "Given") -> "Vocabulary":
        """Read entries, or labels with their phrases. Raises BadInput for what cannot be."""
        if isinstance(given, Vocabulary):
            return given
        if isinstance(given, str):
            raise BadInput("labels are several; give a list of them")
        if isinstance(given, Mapping):
            vocabulary = cls(tuple((_label(name, said),) for name, said in given.items()))
        else:
            vocabulary = cls(tuple(_group(entry) for entry in given))
        _check(vocabulary)
        return vocabulary

    @classmethod
    def read(cls, file: Path) -> "Vocabulary":
        """Read a file with an entry a line; empty lines and those with # are passed over."""
        try:
            content = file.read_bytes()[: _MAX_BYTES + 1]
            text = content.decode("utf-8-sig")
        except (OSError, ValueError) as error:
            raise BadInput(f"{file} cannot be read as a vocabulary ({error})") from error
        if len(content) > _MAX_BYTES:
            raise BadInput(f"{file} is too large for a vocabulary; give at most {MAX_LABELS:,}")
        lines = (line.strip() for line in text.splitlines())
        return cls.of([line for line in lines if line and not line.startswith("#")])

    @property
    def labels(self) -> tuple[Label, ...]:
        """Give all labels, in order."""
        return tuple(one for group in self.groups for one in group)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.labels)

    def entries(self) -> list[str]:
        """Write it as it is read."""
        return [" | ".join(map(str, group)) for group in self.groups]


Given = Sequence[str] | Mapping[str, Sequence[str]] | Vocabulary


def _group(entry: str) -> tuple[Label, ...]:
    if not isinstance(entry, str):
        raise BadInput(f"a label is {type(entry).__name__}; give words")
    return tuple(_entry(part) for part in entry.split("|"))


def _entry(part: str) -> Label:
    name, _, said = part.partition(":")
    return _label(name, [one for one in said.split(";") if one.strip()])


def _label(name: str, phrases: Iterable[str]) -> Label:
    if isinstance(phrases, str):
        raise BadInput(f'the phrases of "{name}" are one text; give a list')
    return Label(_line(name), tuple(map(_line, phrases)))


def _line(text: str) -> str:
    """Give a text on one line; raises BadInput for an empty and a long one."""
    words = " ".join(text.split()) if isinstance(text, str) else ""
    if not words or not words.isprintable():
        raise BadInput(f"{text!r} is no label; write words")
    if len(words) > MAX_LENGTH:
        raise BadInput(f'"{words[:40]}…" is longer than {MAX_LENGTH} characters')
    return words


def _check(vocabulary: Vocabulary) -> None:
    counted = Counter(name.casefold() for name in vocabulary.names)
    if not counted:
        raise BadInput("there are no labels; give some words")
    if len(counted) > MAX_LABELS:
        raise BadInput(f"{len(counted):,} labels are too many; give at most {MAX_LABELS:,}")
    if twice := next((name for name, count in counted.items() if count > 1), None):
        raise BadInput(f'the label "{twice}" is there twice')
    for one in vocabulary.labels:
        texts = (one.name, *one.phrases)
        if ":" in one.name or any(mark in text for text in texts for mark in "|;"):
            raise BadInput(f'"{one.name}" has a sign that parts entries: write it without : ; |')
