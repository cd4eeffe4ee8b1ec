"""Which names of a source are left out: the rules of the user, in the syntax of gitignore."""

import codecs
import json
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from pathspec import GitIgnoreSpec

from indexer.refusals import NotNow, Refused
from searchx.errors import BadInput

IGNORE_FILE: Final = ".searchxignore"
MAX_BYTES: Final = 1 << 20  # of an ignore file; what is larger was not written as one
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_Line: TypeAlias = tuple[Callable[[str], re.Match[str] | None], bool, bool]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user said about a source. Raises BadInput for a pattern that cannot be used."""

    include: tuple[str, ...] = ()  # gitignore patterns; where there are any, only what they name
    exclude: tuple[str, ...] = ()  # gitignore patterns, over those of the ignore files
    text_columns: tuple[str, ...] = ()  # of corpus files; empty: found by their names
    image_column: str | None = None

    def __post_init__(self) -> None:
        for option, patterns in (("include", self.include), ("exclude", self.exclude)):
            for pattern in patterns:
                try:
                    is_said = _says_something(pattern)
                except ValueError:
                    raise BadInput(
                        f'--{option} "{pattern}" is no pattern of gitignore; correct it'
                    ) from None
                if not is_said:
                    raise BadInput(
                        f'--{option} "{pattern}" names nothing; give a pattern such as "*.jpg"'
                    )
        for option, names in (("text", self.text_columns), ("image", (self.image_column,))):
            if any(name is not None and not name.strip() for name in names):
                raise BadInput(f'--{option}-column "" names no column; give the name of one')

    @property
    def patterns(self) -> str:
        """Write the patterns as they are typed; empty where there is none."""
        typed = [f'--include "{one}"' for one in self.include]
        return " ".join([*typed, *(f'--exclude "{one}"' for one in self.exclude)])

    def as_json(self) -> str:
        """Give the form in which the rules are kept with their source."""
        return json.dumps({name: value for name, value in asdict(self).items() if value})

    @classmethod
    def from_json(cls, kept: str) -> "Rules":
        """Give the rules that ``as_json`` wrote; what a later version added is left aside.

        So is what says nothing, which earlier versions kept.
        """
        said = json.loads(kept)
        image_column = str(said.get("image_column") or "")
        return cls(
            include=tuple(filter(_says_something, map(str, said.get("include", ())))),
            exclude=tuple(filter(_says_something, map(str, said.get("exclude", ())))),
            text_columns=tuple(filter(str.strip, map(str, said.get("text_columns", ())))),
            image_column=image_column if image_column.strip() else None,
        )


@dataclass(frozen=True, slots=True)
class Patterns:
    """Lines of gitignore, the last one first: the first that matches decides."""

    lines: tuple[_Line, ...] = ()

    @classmethod
    def of(cls, lines: Iterable[str]) -> "Patterns":
        """Compile lines of gitignore; raises ValueError for one that is no pattern."""
        compiled = [one for line in lines if (one := _compile(line)) is not None]
        return cls(tuple(reversed(compiled)))

    def decide(self, path: str, is_folder: bool) -> bool | None:
        """Tell whether a path is named (True), excepted by a "!" (False) or not spoken of.

        Only the path itself counts, not the folders above it: who walks has decided on those.
        """
        for search, is_named, folders_only in self.lines:
            if folders_only and not is_folder:
                continue
            match = search(path)
            # The one group of an expression of pathspec marks the end of a folder's name: where
            # it took part, the pattern names a folder above this path.
            if match is not None and match.lastindex is None:
                return is_named
        return None


def _says_something(pattern: str) -> bool:
    """Tell whether a pattern is more than a blank or a comment; raises ValueError for none."""
    return bool(Patterns.of([pattern]).lines)


def read_patterns(path: str) -> Patterns:
    """Read an ignore file; one with a BOM, in UTF-16 or with bytes that are not UTF-8 too.

    Raises Refused for what is no ignore file, and NotNow for one that cannot be read.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise Refused("the rules are not in a file; delete it or write it anew")
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise NotNow(f"the rules cannot be read ({reason}); check its permissions") from None
    if len(data) > MAX_BYTES:
        raise Refused(f"more than {MAX_BYTES} bytes are no rules; shorten it")
    return _parse(data)


def _parse(data: bytes) -> Patterns:
    text = _decode(data)
    if "\0" in text:
        raise Refused("the rules are no text; write them anew")
    lines = text.replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            Patterns.of([line])
        except ValueError:
            raise Refused(f"line {number} is no pattern of gitignore; correct it") from None
    return Patterns.of(lines)


def _decode(data: bytes) -> str:
    if data.startswith(_UTF16_MARKS):
        return data.decode("utf-16", "replace")
    text = data.removeprefix(codecs.BOM_UTF8)
    return text.decode("utf-8", "surrogateescape")  # as names of files are, byte by byte


def _compile(line: str) -> _Line | None:
    if not line.endswith("\\ "):
        line = line.rstrip()
    folders_only = line.endswith("/") and line.strip("!/") != ""
    if folders_only:
        line = line[:-1]
    (pattern,) = GitIgnoreSpec.from_lines([composed(line)]).patterns or (None,)
    if pattern is None or pattern.include is None or pattern.regex is None:
        return None  # a comment, an empty line, or a range that git discards as well
    # In upper or lower case, as formats are told by their names: cameras write IMG_1.JPG.
    regex = re.compile(pattern.regex.pattern, pattern.regex.flags | re.IGNORECASE)
    return regex.search, pattern.include, folders_only


def composed(path: str) -> str:
    """Write letters as one character each, whichever way the disk writes them.

    A newline becomes a NUL, which no name holds: expressions stop at a newline.
    """
    if not path.isascii():
        path = unicodedata.normalize("NFC", path)
    return path.replace("\n", "\0")


@dataclass(frozen=True, slots=True)
class Scope:
    """The rules as they hold in one folder of a source."""

    prefix: str = ""  # of the paths in it: "" in the source itself, "2019/july/" below it
    include: Patterns | None = None  # None: everything
    is_included: bool = False  # a pattern of `include` names the folder or one above it
    hidden: Patterns | None = None  # hidden names that are not left out
    exclude: Patterns | None = None
    ignores: tuple[tuple[int, Patterns], ...] = ()  # deepest first, with the length of its prefix

    @classmethod
    def of(cls, rules: Rules) -> "Scope":
        """Give the rules as they hold in the source itself."""
        parts = [part for pattern in rules.include for part in pattern.rstrip().split("/")]
        dotted = [one for one in parts if re.fullmatch(r"\.+[^.].*(?<!\\)", one, re.DOTALL)]
        return cls(
            include=Patterns.of(rules.include) if rules.include else None,
            hidden=Patterns.of(dotted) if dotted else None,
            exclude=Patterns.of(rules.exclude) if rules.exclude else None,
        )

    @property
    def is_plain(self) -> bool:
        """Say that nothing but hidden names is left out."""
        return not (self.ignores or self.exclude or self.include)

    def into(self, name: str) -> "Scope":
        """Give the rules as they hold in a folder of this one, before its own ignore file."""
        if self.is_plain:
            return self  # where no pattern is, no path is asked for; an ignore file starts anew
        is_included = self._includes(name, is_folder=True)
        prefix = f"{self.prefix}{composed(name)}/"
        return replace(self, prefix=prefix, is_included=is_included)

    def under(self, patterns: Patterns) -> "Scope":
        """Add the ignore file of this folder, over those of the folders above."""
        return replace(self, ignores=((len(self.prefix), patterns), *self.ignores))

    def leaves_out(self, name: str, is_folder: bool) -> bool:
        """Tell whether a name in this folder is hidden or ignored, and all below it."""
        if name[0] == "." and not (self.hidden and self.hidden.decide(composed(name), is_folder)):
            return True
        path = self.prefix + composed(name)
        if self.exclude and (said := self.exclude.decide(path, is_folder)) is not None:
            return said
        for start, patterns in self.ignores:
            if (said := patterns.decide(path[start:], is_folder)) is not None:
                return said
        return False

    def wants(self, name: str) -> bool:
        """Tell whether a file in this folder, not left out, is one that the user asked for."""
        return self.include is None or self._includes(name, is_folder=False)

    def _includes(self, name: str, is_folder: bool) -> bool:
        said = None
        if self.include is not None:
            said = self.include.decide(self.prefix + composed(name), is_folder)
        return self.is_included if said is None else said
