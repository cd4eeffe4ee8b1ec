"""What a list of recommendations is to be like, and how a caller says so."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypedDict

from searchx.errors import BadInput
from searchx.grouping import Group

if TYPE_CHECKING:
    import pyarrow

MAX_INTERESTS: Final = 16
INTERESTS: Final = 4
Rescore: TypeAlias = Callable[["pyarrow.RecordBatch"], Any]


class Options(TypedDict, total=False):
    """What may be said beside the histories; docs/recommend.md tells of each."""

    times: Any  # of what was liked: lists as long as the histories
    weights: Any  # likewise
    half_life: float | timedelta | None
    interests: int
    diversity: float
    group: Group | None
    per_group: int | None
    collapse: bool | float
    rescore: Rescore | None
    collection: str | None  # whose ids the histories hold; without it they are those of items


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a list is to be like."""

    interests: int = INTERESTS  # of a user, at most; 1 makes one mean of all he likes
    diversity: float = 0.0  # in [0, 1]: how much what is unlike the rest of the list is preferred
    per_group: int | None = None  # items of one group in a list, at most
    alike: float | None = None  # cosine from which on two are near duplicates: one is enough
    rescore: Rescore | None = None

    @classmethod
    def of(cls, options: Options, duplicates: Callable[[], float]) -> "Wishes":
        """Read the options; `duplicates` tells the cosine of near ones. Raises BadInput."""
        unknown = set(options) - set(Options.__annotations__)
        if unknown:
            known = ", ".join(Options.__annotations__)
            raise BadInput(f"{min(unknown)} is no wish that recommend knows; it knows {known}")
        interests, diversity = options.get("interests", INTERESTS), options.get("diversity", 0.0)
        if isinstance(interests, bool) or interests not in range(1, MAX_INTERESTS + 1):
            raise BadInput(f"interests is {interests!r}; use a number from 1 to {MAX_INTERESTS}")
        if not 0 <= diversity <= 1:
            raise BadInput(f"diversity is {diversity}; it must be between 0 and 1")
        return cls(
            interests=int(interests),
            diversity=float(diversity),
            per_group=_per_group(options),
            alike=_alike(options.get("collapse", False), duplicates),
            rescore=options.get("rescore"),
        )


def of_one(options: Options) -> Options:
    """Give what is said of one user as it is said of many."""
    many = options.copy()
    if options.get("times") is not None:
        many["times"] = [options["times"]]
    if options.get("weights") is not None:
        many["weights"] = [options["weights"]]
    return many


def _per_group(options: Options) -> int | None:
    group, most = options.get("group"), options.get("per_group")
    if group is None:
        if most is not None:
            raise BadInput("per_group needs to know the groups; give group as well")
        return None
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise BadInput(f"per_group is {most!r}; it must be a whole number from 1 on")
    return most or 1


def _alike(collapse: bool | float, duplicates: Callable[[], float]) -> float | None:
    if collapse is False or collapse is None:
        return None
    if collapse is True:
        return duplicates()
    if not 0 < collapse <= 1:
        raise BadInput(f"collapse is {collapse}; give True, or a cosine above 0 and at most 1")
    return float(collapse)
