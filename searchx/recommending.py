"""Recommend items to users by what they liked, one user or a hundred thousand.

Users are taken in blocks, so memory does not grow with their number, and two blocks at a time, so
that all cores have work. What a user gets depends on nobody else, and there is no chance in it.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from searchx.arrow import Names, ids_of, lists_to_arrow
from searchx.backdrops import Usual
from searchx.blocks import rows_of
from searchx.choosing import Chosen, Masks, Numbers, Pool, Rules, choose
from searchx.errors import BadInput
from searchx.grouping import Groups
from searchx.histories import Find, Histories, looked_up
from searchx.profiles import LONGEST, Profiles, newest_first, profiles
from searchx.ragged import Ragged, first_of_each
from searchx.ranked import HARMLESS, LEAST_SPREAD, PENALTY
from searchx.records import Ids, Kind, Vectors
from searchx.vectors import NO_ID
from searchx.views import Choice, View
from searchx.wishes import Options, Wishes

if TYPE_CHECKING:
    import pyarrow

_USERS: Final = 1_024  # in a block
_PROFILED: Final = 128  # of them whose histories are held at a time
_AT_ONCE: Final = 2  # blocks: one is searched for while the lists of another are made
_POOL: Final = 4  # candidates for each place, where more than the cosine decides
_DEEPER: Final = 4  # times as many candidates where those are too few
_DEEPEST: Final = 16_384  # candidates of one interest
_NUMBERS: Final = 1 << 24  # of candidates' vectors held at a time, 64 MB


class Recommended(NamedTuple):
    """Lists for q users, best first."""

    ids: Ids  # (q, k); -1 where there is no more
    scores: NDArray[np.float32]  # (q, k) exact cosines to an interest; -inf where there is no more

    def arrow(self, users: Any = None, names: Names | None = None) -> "pyarrow.Table":
        """Give a row for each user: `user` (the number of the row by default), `ids`, `scores`.

        With `names`, a function of ids (n,) such as `library.externals`, `ids` are what it gives.
        """
        import pyarrow

        held = self.ids != NO_ID
        who = np.arange(len(self.ids)) if users is None else users
        lists = [lists_to_arrow(self.ids, held, names), lists_to_arrow(self.scores, held)]
        return pyarrow.table(dict(zip(["user", "ids", "scores"], [who, *lists], strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """For whom: what users like and dislike, and what they are not to be shown."""

    liked: Histories
    disliked: Histories | None = None
    seen: Ragged | None = None  # (q,) lists of ids besides those of the histories
    never: Ids = field(default_factory=lambda: np.empty(0, np.int64))  # by nobody

    def part(self, start: int, stop: int) -> "Asked":
        """Give some of the users."""
        disliked = self.disliked and self.disliked.part(start, stop)
        seen = self.seen and self.seen.part(start, stop)
        return Asked(self.liked.part(start, stop), disliked, seen, self.never)


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """The lists of some users, with what dislikes have taken from each cosine."""

    ids: Ids  # (b, k)
    scores: NDArray[np.float32]  # (b, k)
    lowered: NDArray[np.float32]  # (b, k)
    liked: Masks  # (b,) something is known of the user

    @classmethod
    def empty(cls, users: int, k: int) -> "Lists":
        none = np.full((users, k), -np.inf, np.float32)
        lowered = np.zeros((users, k), np.float32)
        return cls(np.full((users, k), NO_ID), none, lowered, np.zeros(users, np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class Recommender:
    """One kind of a library, as of one moment, to recommend from."""

    view: View
    choice: Choice
    views: Sequence[View]  # where the items of histories are
    usual: Callable[[View], Usual]
    dim: int
    wishes: Wishes
    groups: Groups | None = None
    _rescoring: threading.Lock = field(default_factory=threading.Lock)

    def lists(self, asked: Asked, k: int) -> Lists:
        """Recommend k items to each user, or as many as there are; none to one without likes."""
        starts = range(0, len(asked.liked), _USERS)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            each = list(
                threads.map(lambda at: self._block(asked.part(at, at + _USERS), at, k), starts)
            )
        if not each:
            return Lists.empty(0, k)
        columns = zip(*((x.ids, x.scores, x.lowered, x.liked) for x in each), strict=True)
        return Lists(*(np.concatenate(one) for one in columns))

    def _block(self, asked: Asked, first: int, k: int) -> Lists:
        """Recommend to one block, again and from more candidates where those did not decide."""
        liked, side = self._profiles(asked.liked)
        disliked = None if asked.disliked is None else self._profiles(asked.disliked)[0]
        block = _Block(asked, first, liked, disliked, side)
        found = Lists.empty(len(asked.liked), k)
        found.liked[:] = liked.importance.sum(axis=1) > 0
        there = self.choice.count(self.view)
        depths = self._depths(asked, k)
        left = np.flatnonzero(found.liked) if there else np.empty(0, np.intp)
        while len(left):
            sure = [
                users[self._fill(found, block, users, int(depth), k)]
                for depth in np.unique(depths[left])
                for users in self._parts(left[depths[left] == depth], min(int(depth), there))
            ]
            left = np.setdiff1d(left, np.concatenate(sure))
            depths[left] *= _DEEPER
        return found

    def _depths(self, asked: Asked, k: int) -> Ids:
        """Tell how many candidates of each interest to begin with, (b,).

        In steps, so that many users are asked for together: of 4 where candidates cost little.
        """
        wishes = self.wishes
        is_plain = asked.disliked is None and wishes.rescore is None and self.groups is None
        is_plain = is_plain and not wishes.diversity and wishes.alike is None
        seen = np.minimum(asked.liked.lists.lengths, LONGEST)
        least = k * (1 if is_plain else _POOL) + seen + 1
        step = 2 if is_plain else 1  # of the power of 2
        return np.asarray(2 ** (step * np.ceil(np.log2(least) / step)), np.int64)

    def _parts(self, users: Ids, depth: int) -> list[Ids]:
        """Divide users so that their candidates fit into memory."""
        each = self.wishes.interests * depth * (self.dim if self._compares else 8)
        size = max(1, _NUMBERS // each)
        return [users[at : at + size] for at in range(0, len(users), size)]

    @property
    def _compares(self) -> bool:
        return self.wishes.diversity > 0 or self.wishes.alike is not None

    def _fill(self, found: Lists, block: "_Block", users: Ids, depth: int, k: int) -> Masks:
        """Make the lists of some users from so many candidates; tells which of them are sure."""
        pool, scores, lowered = self._pool(block, users, depth)
        rules = Rules(k, self.wishes.diversity, self.wishes.alike, self.wishes.per_group)
        chosen = choose(pool, rules)
        row, place = np.nonzero(chosen.interests >= 0)
        at = (row, chosen.interests[row, place], chosen.places[row, place])
        for name, values in (("ids", pool.ids), ("scores", scores), ("lowered", lowered)):
            target = getattr(found, name)
            target[users] = NO_ID if name == "ids" else -np.inf if name == "scores" else 0
            target[users[row], place] = values[at]
        return _sure(chosen, pool) | (depth >= _DEEPEST)

    def _pool(self, block: "_Block", users: Ids, depth: int) -> tuple[Pool, Numbers, Numbers]:
        """Find candidates; gives them with their cosines and what is taken from those."""
        there = self.choice.count(self.view)
        importance = block.liked.importance[users]  # (u, m)
        ids, scores = self._candidates(block, users, min(depth, there))
        last = scores[:, :, -1].astype(np.float64)
        floors = np.where((importance > 0) & (depth < there), last, -np.inf)
        free = (ids != NO_ID) & ~block.seen(users, ids) & ~np.isin(ids, block.asked.never)
        rows = self._rows(ids) if self._compares or block.disliked is not None else None
        lowered: Numbers = np.zeros(scores.shape)
        if block.disliked is not None and rows is not None:
            lowered = self._lowered(rows, block.liked.vectors[users], block.disliked, users)
        keys = scores - lowered
        if self.wishes.rescore is not None:
            is_open = np.asarray((floors > -np.inf).any(axis=1, keepdims=True), np.bool_)
            return self._rescored(block, users, ids, keys, free, is_open)
        pool = Pool(
            ids=ids,
            keys=keys,
            free=free,
            importance=importance,
            floors=floors,
            rows=rows if self._compares else None,
            groups=None if self.groups is None else self.groups.of(ids),
            seen=self._shown(block, users),
        )
        return pool, scores.astype(np.float64), lowered

    def _candidates(
        self, block: "_Block", users: Ids, depth: int
    ) -> tuple[Ids, NDArray[np.float32]]:
        """Find the nearest of each interest: ids and cosines, (u, m, p)."""
        user, interest = np.nonzero(block.liked.importance[users] > 0)
        shape = (len(users), self.wishes.interests, depth)
        ids = np.full(shape, NO_ID, np.int64)
        scores = np.full(shape, -np.inf, np.float32)
        queries = block.liked.vectors[users[user], interest]
        ids[user, interest], scores[user, interest] = self.view.search(
            queries, depth, self.choice, block.side
        )
        return ids, scores

    def _rows(self, ids: Ids) -> Vectors:
        """Give the vectors of candidates, (u, m, p, dim); zeros where there is none."""
        rows, _ = rows_of((self.view,), ids.ravel(), self.dim)
        return rows.reshape(*ids.shape, self.dim)

    def _lowered(self, rows: Vectors, liked: Vectors, disliked: Profiles, users: Ids) -> Numbers:
        """Tell by how much dislikes lower candidates, (u, m, p): only those that match one.

        As negative parts of a query do: so nothing is turned around, and what is unlike a dislike
        stays as it was.
        """
        sample = self.usual(self.view).sample
        spreads = (liked @ sample.T).std(axis=2).clip(LEAST_SPREAD)  # (u, m)
        usual = disliked.vectors[users] @ sample.T  # (u, n, s)
        means, widths = usual.mean(axis=2), usual.std(axis=2)
        flat = rows.reshape(len(rows), -1, self.dim)
        near = flat @ disliked.vectors[users].transpose(0, 2, 1)  # (u, m * p, n)
        above = (near - means[:, None]) / widths.clip(1e-6)[:, None] - HARMLESS
        above = np.where((disliked.importance[users] > 0)[:, None], above, 0.0)
        worst = above.max(axis=2, initial=0.0).reshape(rows.shape[:3])
        return np.asarray(PENALTY * worst * spreads[:, :, None], np.float64)

    def _rescored(
        self,
        block: "_Block",
        users: Ids,
        ids: Ids,
        keys: Numbers,
        free: Masks,
        is_open: Masks,
    ) -> tuple[Pool, Numbers, Numbers]:
        """Let the caller score the candidates: then his scores alone decide, not interests."""
        shape = (len(users), 1, ids.shape[1] * ids.shape[2])
        order = np.argsort(-np.where(free, keys, -np.inf).reshape(shape), axis=2, kind="stable")

        def flat(values: Any) -> Any:
            return np.take_along_axis(values.reshape(shape), order, 2)

        ids, free, before = flat(ids), flat(free), flat(keys)
        interests = flat(np.broadcast_to(np.arange(keys.shape[1])[:, None], keys.shape))
        free[:, 0] &= first_of_each(np.where(free, ids, NO_ID)[:, 0])
        at = np.nonzero(free)
        scored = np.full(shape, -np.inf)
        columns = {
            "user": block.first + users[at[0]],
            "id": ids[at],
            "score": before[at].astype(np.float32),
            "interest": interests[at],
        }
        scored[at] = self._scores(columns)
        pool = Pool(
            ids=ids,
            keys=scored,
            free=free & (scored > -np.inf),
            importance=np.ones((len(users), 1)),
            floors=np.where(is_open, np.finfo(np.float64).min, -np.inf),  # who knows what he scores
            rows=self._rows(ids) if self._compares else None,
            groups=None if self.groups is None else self.groups.of(ids),
            seen=self._shown(block, users),
        )
        return pool, scored, np.zeros(shape)

    def _scores(self, columns: dict[str, NDArray[Any]]) -> Numbers:
        import pyarrow

        assert self.wishes.rescore is not None
        with self._rescoring:  # one at a time: nobody has to make it safe for threads
            given = self.wishes.rescore(pyarrow.RecordBatch.from_pydict(columns))
        if hasattr(given, "to_numpy"):
            given = given.to_numpy(zero_copy_only=False)
        scores = np.asarray(given, np.float64)
        if scores.shape != columns["id"].shape or np.isnan(scores).any():
            raise BadInput(
                f"rescore gave {scores.shape} for {columns['id'].shape} candidates, or what is no "
                "number; it must give one number for each, -inf for what is not to be shown"
            )
        return scores

    def _profiles(self, histories: Histories) -> tuple[Profiles, Kind]:
        """Give the interests of users, and the kind that they are made of.

        Histories are filled up to powers of 2: a user's own length alone decides, so that his
        numbers are the same to the last bit whoever stands beside him.
        """
        most = self.wishes.interests
        vectors = np.zeros((len(histories), most, self.dim), np.float32)
        importance = np.zeros((len(histories), most))
        lengths = np.array([_power_of_2(one) for one in histories.lists.lengths.tolist()])
        side: Kind = self.views[0].kind
        for start in range(0, len(histories), _PROFILED):
            part = histories.part(start, start + _PROFILED)
            rows, weights, side = self._liked(part)
            joined_from = self.usual(self._view_of(side)).joined_from
            own = np.minimum(lengths[start : start + _PROFILED], LONGEST)
            for length in np.unique(own):
                users = np.flatnonzero(own == length)
                held = weights[users, :length]
                made = profiles(rows[users, :length], held, most, joined_from)
                vectors[start + users], importance[start + users] = made.vectors, made.importance
        return Profiles(vectors, importance), side

    def _liked(self, histories: Histories) -> tuple[Vectors, Numbers, Kind]:
        """Give the rows of what is in histories (b, h, dim), what each counts, and of what kind."""
        lists, heavy = newest_first(histories.lists, histories.weights)
        width = min(LONGEST, _power_of_2(int(lists.lengths.max(initial=1))))
        values, weights = lists.padded(width), heavy.padded(width, 0.0)
        if histories.given is not None:
            rows = histories.given[np.maximum(values, 0)] * (values != NO_ID)[:, :, None]
            return rows.astype(np.float32), weights, "text"  # who knows: the harder one
        rows, missing = rows_of(self.views, values.ravel(), self.dim)
        weights[np.isin(values, missing)] = 0.0
        pictures = self.views[0].held(np.unique(values))
        side = self.views[0].kind if len(pictures) else self.views[-1].kind
        return rows.reshape(*values.shape, self.dim), weights, side

    def _shown(self, block: "_Block", users: Ids) -> Vectors | None:
        """Give the rows of what users liked (u, h, dim), where near duplicates are collapsed."""
        if self.wishes.alike is None:
            return None
        each = [self._liked(block.asked.liked.part(one, one + 1))[0][0] for one in users.tolist()]
        width = max(len(rows) for rows in each)
        return np.stack([np.pad(rows, ((0, width - len(rows)), (0, 0))) for rows in each])

    def _view_of(self, side: Kind) -> View:
        return next((one for one in self.views if one.kind == side), self.view)


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Some users, and what is known of them."""

    asked: Asked
    first: int  # number of the first one
    liked: Profiles
    disliked: Profiles | None
    side: Kind

    def seen(self, users: Ids, ids: Ids) -> Masks:
        """Tell which candidates (u, m, p) are known to their user."""
        flat = np.full((len(self.asked.liked), ids.shape[1] * ids.shape[2]), NO_ID, np.int64)
        flat[users] = ids.reshape(len(users), -1)
        known = np.zeros(flat.shape, np.bool_)
        for one in (self.asked.liked, self.asked.disliked):
            if one is not None and one.given is None:
                known |= one.lists.holds(flat)
        if self.asked.seen is not None:
            known |= self.asked.seen.holds(flat)
        return known[users].reshape(ids.shape)


def asked_by(
    liked: Any, disliked: Any, exclude: Any, dim: int, options: Options, find: Find | None = None
) -> Asked:
    """Read what callers give for many users; with `find` by external ids. Raises BadInput."""
    times, weights = options.get("times"), options.get("weights")
    histories = Histories.of(liked, dim, times, weights, options.get("half_life"), find)
    against = None if disliked is None else Histories.of(disliked, dim, find=find)
    if against is not None and len(against) != len(histories):
        raise BadInput(
            f"there are histories of {len(histories)} users, negatives of {len(against)}"
        )
    if find is not None:
        of_all = not isinstance(exclude, Ragged)
        exclude = looked_up([exclude] if of_all else exclude, find)
        exclude = exclude.values if of_all else exclude
    if not isinstance(exclude, Ragged):
        return Asked(histories, against, never=np.unique(ids_of(exclude)))
    if len(exclude) != len(histories):
        raise BadInput(f"there are histories of {len(histories)} users, exclude of {len(exclude)}")
    return Asked(histories, against, seen=exclude)


def alone(values: Any) -> Any:
    """Give what one user likes as that of many: of one."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "f" and values.ndim == 2:
        return values[None]  # (1, n, dim)
    return [values.to_pylist() if hasattr(values, "to_pylist") else values]


def _sure(chosen: Chosen, pool: Pool) -> Masks:
    """Tell whose lists more candidates would not change."""
    return np.asarray(chosen.is_sure | (pool.floors == -np.inf).all(axis=1), np.bool_)


def _power_of_2(count: int) -> int:
    return 1 << max(count - 1, 0).bit_length()
