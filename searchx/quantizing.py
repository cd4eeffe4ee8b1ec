"""Make a model that computes pictures in 8 bits, and keep it where it finds as well as its base.

It is calibrated on some pictures and judged by others, that it was not calibrated on: by recall
where there are captions of them, else by how many first answers to everyday questions stay the
same. Both models embed those pictures in turns, so that their paces can be compared.
"""

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from searchx.brought import place_of
from searchx.contents import open_content
from searchx.durable import sync
from searchx.eightbit import (
    SUFFIX,
    TOWER,
    EightBit,
    base_of,
    digest_of_tower,
    eight_bit,
    write_manifest,
)
from searchx.encoder import Announce, canonical_name, compiled_base, seeing_by
from searchx.errors import BadInput, LibraryFull, ModelError
from searchx.evaluation import Retrieval, rank_pairs, retrieval_of
from searchx.pairs import Pair
from searchx.pictures.images import open_image
from searchx.records import Location, Pixels, Vectors
from searchx.relevance import everyday_captions
from searchx.runtime.compiled import CompiledEncoder
from searchx.runtime.preparing import told_by

Picture: TypeAlias = Path | bytes | Location
Progress: TypeAlias = Callable[[int, int], None]  # so many pictures seen, of so many

WITHIN: Final = 0.005  # of recall@10 that may be lost, in either direction
AGREEING: Final = 0.85  # of the first ten answers that stay the same; of good ones, nine in ten do
LEAST: Final = 32  # pictures to calibrate on, and as many to judge by
_CALIBRATED: Final = 300
_HELD_OUT: Final = 500
_FIRST: Final = 10
_EVERY: Final = 4  # everyday caption is asked
_SPARE: Final = 200_000_000  # bytes of the disk that are left to others
_QUANTIZER: Final = "searchx.runtime.quantizing"


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of the base, and the same one of what was made of it."""

    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Quantized:
    """A model that was made, and what was measured of it."""

    name: str
    base: str
    digest: str
    calibrated: int  # pictures
    checked: int  # other pictures
    unreadable: int  # pictures that were left out
    cosine: float  # of both vectors of a picture, the median
    least_cosine: float
    images_per_second: Change
    tower_bytes: Change  # of the image tower
    agreement: float | None = None  # of the first ten answers, where there are no captions
    recall: dict[str, dict[str, Change]] = field(default_factory=dict)  # by way, by measure

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return asdict(self)

    def refusal(self) -> str | None:
        """Say why it is not as good as its base, in figures; None where it is."""
        if self.agreement is not None and self.agreement < AGREEING:
            return (
                f"only {self.agreement:.1%} of the first ten answers to everyday questions "
                f"stay the same, where {AGREEING:.0%} are asked for"
            )
        fallen = [
            f"{way.replace('_', ' ')} from {100 * one.before:.1f} to {100 * one.after:.1f}"
            for way, one in ((way, of["recall@10"]) for way, of in self.recall.items())
            if one.before - one.after > WITHIN + 1e-9
        ]
        if not fallen:
            return None
        return f"recall@10 falls by more than {100 * WITHIN} point: " + ", ".join(fallen)


def check_tools() -> None:
    """Raise ModelError, in one line, where what makes such models is not installed."""
    if find_spec("nncf") is None:
        raise ModelError('models in 8 bits are made by NNCF; run: pip install "searchx[int8]"')


def quantize(
    name: str,
    pictures: Sequence[Picture],
    pairs: Sequence[Pair] = (),
    announce: Announce | None = None,
    progress: Progress | None = None,
) -> Quantized:
    """Make the model in 8 bits of another one, by its name with ``-int8`` behind it.

    A part of the pictures is calibrated on. Judged is by the pairs, without those pictures, or
    by the other part where there are none. Raises ModelError where it is not as good, with the
    figures, or cannot be made; BadInput for too few pictures; LibraryFull. Nothing stays then.
    """
    check_tools()
    base = canonical_name(name)
    made = base + SUFFIX
    place = place_of(made)
    if base_of(base) and eight_bit(base):
        raise BadInput(f'"{base}" computes in 8 bits already; name the model that it was made of')
    if place.exists():
        raise BadInput(f'"{made}" is here already; remove {place} to make it again')
    _check_number(len(pictures) // 2, "to calibrate on")
    encoder = compiled_base(made, base, announce)
    _sweep(place)
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        beside.mkdir(parents=True)
        found = _Making(encoder, made, beside, announce, progress).run(pictures, pairs)
        if reason := found.refusal():
            raise ModelError(f'"{made}" was not kept: {reason}; go on with "{base}"')
        _move(beside, place)
    except OSError as error:
        raise LibraryFull(f"{place} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return found


class _Making:
    """One model on its way, in a directory of its own."""

    def __init__(
        self,
        base: CompiledEncoder,
        name: str,
        directory: Path,
        announce: Announce | None,
        progress: Progress | None,
    ) -> None:
        self._base = base
        self._name = name
        self._directory = directory
        self._announce = announce or (lambda _: None)
        self._progress = progress or (lambda _, __: None)
        self._unreadable = 0

    def run(self, pictures: Sequence[Picture], pairs: Sequence[Pair]) -> Quantized:
        order = np.random.default_rng(0).permutation(len(pictures)).tolist()
        mixed = [pictures[place] for place in order]
        some, others = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
        seen = [one for _, one in islice(self._fitted(some), _CALIBRATED)]
        _check_number(len(seen), "to calibrate on", self._unreadable)
        made = self._made(seen)
        judged: Sequence[Picture] = [one.image for one in pairs] if pairs else others
        both = self._both(made, judged, {_digest(one) for one in seen}, bool(pairs))
        _check_number(len(both.numbers), "to judge by beside", self._unreadable)
        cosines = (both.before * both.after).sum(axis=1)  # (n,)
        found = Quantized(
            name=self._name,
            base=self._base.space.name,
            digest=made.space.digest,
            calibrated=len(seen),
            checked=len(both.numbers),
            unreadable=self._unreadable,
            cosine=float(np.median(cosines)),
            least_cosine=float(cosines.min()),
            images_per_second=both.pace,
            tower_bytes=Change(_size(self._base.tower), _size(made.tower)),
            agreement=None if pairs else _agreement(self._base, both),
            recall=_recall(self._base, both, [pairs[one] for one in both.numbers] if pairs else ()),
        )
        self._write(found)
        return found

    def _fitted(
        self, pictures: Sequence[Picture], strict: bool = False
    ) -> Iterator[tuple[int, Pixels]]:
        """Give pictures that can be read as the models take them, with their numbers."""
        with ThreadPoolExecutor(2) as workers:
            for start in range(0, len(pictures), 32):
                batch = pictures[start : start + 32]
                for number, one in enumerate(workers.map(self._read, batch), start):
                    if not isinstance(one, BadInput):
                        yield number, one
                    elif strict:
                        raise one
                    else:
                        self._unreadable += 1

    def _read(self, picture: Picture) -> Pixels | BadInput:
        fit = self._base.fit
        try:
            if isinstance(picture, Location):
                picture = open_content(picture) if picture.fragment else Path(picture.path)
            return fit(open_image(picture, at_least=fit.side))
        except BadInput as error:
            return error

    def _made(self, seen: Sequence[Pixels]) -> CompiledEncoder:
        """Have the image tower made, by a process of its own; gives the encoder that has it."""
        self._announce(f"making {self._name} of {len(seen):,} pictures, which takes a while")
        weights = _size(self._base.tower)
        needed = len(seen) * seen[0].nbytes + weights + _SPARE
        if shutil.disk_usage(self._directory).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        pixels, tower = self._directory / "pixels.npy", self._directory / TOWER[0]
        np.save(pixels, np.stack(seen))
        reason = "its process ended, perhaps for want of memory"
        for kind, said in told_by(_QUANTIZER, str(self._base.tower), str(pixels), str(tower)):
            reason = said if kind == "reason" else ""
        if reason:
            raise ModelError(f'"{self._name}" cannot be made ({reason})')
        pixels.unlink()
        return seeing_by(self._as_made(), self._base)

    def _as_made(self) -> EightBit:
        base = self._base.space
        digest = digest_of_tower(self._directory, base.digest)
        return EightBit(self._name, base.name, digest, base.digest, self._directory)

    def _both(
        self,
        made: CompiledEncoder,
        pictures: Sequence[Picture],
        calibrated: set[bytes],
        all_of_them: bool,
    ) -> "_Both":
        """Have pictures embedded by both models in turns, without those calibrated on."""
        most = len(pictures) if all_of_them else min(_HELD_OUT, len(pictures))
        fitted = self._fitted(pictures, strict=all_of_them)
        fresh = islice((one for one in fitted if _digest(one[1]) not in calibrated), most)
        both = _Both(self._base, made)
        while batch := list(islice(fresh, self._base.batch_size)):
            both.embed(batch)
            self._progress(len(both.numbers), most)
        return both

    def _write(self, found: Quantized) -> None:
        for left in self._directory.iterdir():
            if left.name not in TOWER:  # what OpenVINO keeps of a tower, by its place
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        about = {key: one for key, one in found.as_dict().items() if key not in _IS_TOLD}
        write_manifest(self._as_made(), self._directory, about)


_IS_TOLD: Final = ("name", "base", "digest")  # beside


class _Both:
    """What two models make of the same pictures, and the time that each takes."""

    def __init__(self, one: CompiledEncoder, other: CompiledEncoder) -> None:
        self.numbers: list[int] = []  # of the pictures
        self._encoders = (one, other)
        self._rows: tuple[list[Vectors], list[Vectors]] = ([], [])
        self._seconds = [0.0, 0.0]

    def embed(self, batch: Sequence[tuple[int, Pixels]]) -> None:
        pixels = [one for _, one in batch]
        for place, encoder in enumerate(self._encoders):
            if not self.numbers:
                encoder.embed_images(pixels)  # loads the tower
            started = time.perf_counter()
            self._rows[place].append(encoder.embed_images(pixels))
            self._seconds[place] += time.perf_counter() - started
        self.numbers += [number for number, _ in batch]

    @property
    def before(self) -> Vectors:
        return np.concatenate(self._rows[0])  # (n, dim)

    @property
    def after(self) -> Vectors:
        return np.concatenate(self._rows[1])

    @property
    def pace(self) -> Change:
        before, after = (len(self.numbers) / one for one in self._seconds)
        return Change(before, after)


def _check_number(number: int, what: str, unreadable: int = 0) -> None:
    if number < LEAST:
        unread = f" ({unreadable:,} cannot be read)" if unreadable else ""
        raise BadInput(
            f"{number:,} pictures are too few {what}{unread}; half of them are, of those that "
            f"are named, and {LEAST} are needed, so name more"
        )


def _agreement(base: CompiledEncoder, both: _Both) -> float:
    """Give the share of the first answers to everyday questions that are the same by both."""
    questions = base.embed_texts(everyday_captions()[::_EVERY])  # (q, dim)
    first = [_first(questions @ one.T) for one in (both.before, both.after)]
    same = [len(set(one) & set(other)) for one, other in zip(*first, strict=True)]
    return float(np.mean(same) / _FIRST)


def _first(scores: Vectors) -> list[list[int]]:
    found: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :_FIRST].tolist()
    return found


def _recall(
    base: CompiledEncoder, both: _Both, pairs: Sequence[Pair]
) -> dict[str, dict[str, Change]]:
    """Measure both models as `searchx eval` does; nothing without pairs."""
    if not pairs:
        return {}
    texts = base.embed_texts([text for pair in pairs for text in pair.captions])  # (t, dim)
    owners = np.repeat(np.arange(len(pairs)), [len(pair.captions) for pair in pairs])
    before, after = (
        [retrieval_of(ranks) for ranks in rank_pairs(rows, texts, owners)]
        for rows in (both.before, both.after)
    )
    ways = zip(("text_to_image", "image_to_text"), before, after, strict=True)
    return {way: _changes(one, other) for way, one, other in ways}


def _changes(before: Retrieval, after: Retrieval) -> dict[str, Change]:
    both = before.as_dict(), after.as_dict()
    return {name: Change(one, both[1][name]) for name, one in both[0].items()}


def _digest(pixels: Pixels) -> bytes:
    return hashlib.blake2b(pixels.data, digest_size=16).digest()


def _size(tower: Path) -> int:
    return tower.with_suffix(".bin").stat().st_size


def _move(beside: Path, place: Path) -> None:
    for file in beside.iterdir():
        sync(file)
    beside.rename(place)
    sync(place.parent)


def _sweep(place: Path) -> None:
    """Remove what processes that are gone left half made of this model."""
    import psutil

    for left in place.parent.glob(f".{place.name}.*.part"):
        number = left.suffixes[-2].removeprefix(".")
        if not (number.isdigit() and psutil.pid_exists(int(number))):
            shutil.rmtree(left, ignore_errors=True)
