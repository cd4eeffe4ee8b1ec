"""Make a model that computes pictures in 8 bits, and keep it where it finds as well as its base.

It is calibrated on some pictures and judged by others, that it was not calibrated on: by recall
where there are captions of them, else by how many first answers to everyday questions stay the
same. Recall is the mean of recall@1, @5 and @10 in both directions: on 1,000 pairs, chance moves
each of the six alone by more than the half point that may be lost. Both models embed those pictures
in turns, so that their paces can be compared.
"""

import errno
import hashlib
import os
import shutil
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
from searchx.encoder import compiled_base, seeing_by
from searchx.encoder.names import Announce, whole_name
from searchx.errors import BadInput, LibraryFull, ModelError
from searchx.judging import AT, Both, Change, Recall, agreement
from searchx.pairs import Pair
from searchx.pictures.images import open_image
from searchx.records import Location, Pixels
from searchx.runtime.compiled import CompiledEncoder
from searchx.runtime.preparing import told_by

Picture: TypeAlias = Path | bytes | Location
Progress: TypeAlias = Callable[[int, int], None]  # so many pictures seen, of so many

WITHIN: Final = 0.005  # of recall that may be lost
AGREEING: Final = 0.85  # of the first ten answers that stay the same; of good ones, nine in ten do
LEAST: Final = 32  # pictures to calibrate on, and as many to judge by
_CALIBRATED: Final = 300
_HELD_OUT: Final = 500
_SPARE: Final = 200_000_000  # bytes of the disk that are left to others
_QUANTIZER: Final = "searchx.runtime.quantizing"


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
    recall_change: float | None = None  # of the mean recall, where there are
    recall_margin: float | None = None  # so far chance may have moved that, with 95 % certainty
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
        if self.recall_change is None or self.recall_change >= -WITHIN:
            return None
        return f"{self.recall_words()}, where {100 * WITHIN} may be lost ({self.figures()})"

    def recall_words(self) -> str:
        """Say how recall changes, the mean of what `figures` tells."""
        change, margin = self.recall_change or 0.0, self.recall_margin or 0.0
        return f"recall changes by {100 * change:+.1f} points (± {100 * margin:.1f} by chance)"

    def figures(self) -> str:
        """Give recall before and after, in percent."""
        return "; ".join(
            f"{way.replace('_', ' ')}: "
            + ", ".join(
                f"R@{k} {100 * of[name].before:.1f} → {100 * of[name].after:.1f}"
                for k, name in ((k, f"recall@{k}") for k in AT)
            )
            for way, of in self.recall.items()
        )


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
    base = whole_name(name)
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
        recall = Recall(self._base, both, [pairs[one] for one in both.numbers]) if pairs else None
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
            agreement=None if pairs else agreement(self._base, both),
            recall_change=recall.change if recall else None,
            recall_margin=recall.margin if recall else None,
            recall=recall.figures if recall else {},
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
    ) -> Both:
        """Have pictures embedded by both models in turns, without those calibrated on."""
        most = len(pictures) if all_of_them else min(_HELD_OUT, len(pictures))
        fitted = self._fitted(pictures, strict=all_of_them)
        fresh = islice((one for one in fitted if _digest(one[1]) not in calibrated), most)
        both = Both(self._base, made)
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


def _check_number(number: int, what: str, unreadable: int = 0) -> None:
    if number < LEAST:
        unread = f" ({unreadable:,} cannot be read)" if unreadable else ""
        raise BadInput(
            f"{number:,} pictures are too few {what}{unread}; half of them are, of those that "
            f"are named, and {LEAST} are needed, so name more"
        )


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
