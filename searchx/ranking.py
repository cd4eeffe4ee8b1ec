"""Put hits into order: vectors and words together, apart from each other, or in groups.

Every key is a function of its own item, given the query and the library: it does not change with
what else is in the list, so that a place in the order can be kept (see `searchx.cursors`).
"""

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.errors import BadInput
from searchx.records import Ids

Keys: TypeAlias = NDArray[np.float64]  # (n,), higher is better
Positions: TypeAlias = NDArray[np.int64]
_Numbers: TypeAlias = NDArray[np.floating[Any]]
_Rows: TypeAlias = NDArray[np.float32] | NDArray[np.float16]  # (n, dim), unit rows

# In standard deviations of the cosine. Measured: python -m tests.benchmarks.bench_fusion
WHOLE_QUERY: Final = 4.0  # for an item that holds all words of the query, by their rarity
RARE_WORDS: Final = 0.1  # for each unit of BM25 above that of a common word
COMMON_WORD: Final = 5.0  # BM25 that a word of every day reaches: no sign of its own
MOST_WORDS: Final = 30.0  # BM25 above which a text is only longer, not more to the point
SMALL_WORDS: Final = 2.0  # BM25 at which the share counts by half: words that many items hold
DOUBT: Final = 2.0  # so much more do words count where the vectors are not trusted at all
NAMED: Final = 100.0  # above what any cosine and any words can reach together
_NAMES_SHARE: Final = 0.5  # of the query that a file's name has to be
_DECIMALS: Final = 9  # of a key: how an addition was grouped does not tell two items apart


def standings(cosines: _Numbers, background: _Numbers) -> Keys:
    """Turn cosines to a query into standard deviations above the library's mean, (n,).

    `background` (b,) holds the cosines of the same query to a fixed sample of the library, which
    is of one kind. Where all of it is alike, nothing stands out: zeros.
    """
    background = np.asarray(background, np.float64)
    spread = float(background.std()) if background.size else 0.0
    if spread < 1e-6:
        return np.zeros(len(cosines))
    return np.asarray((np.asarray(cosines, np.float64) - background.mean()) / spread)


def fused(
    standings: _Numbers,
    shares: _Numbers,
    scores: _Numbers,
    named: NDArray[np.bool_],
    trust: float = 1.0,
) -> Keys:
    """Give the keys of a list that vectors and words have found together, (n,).

    `standings` are what `standings()` gives, lowered by negative parts where there are any;
    `shares` the share of the query's words that stand with the item, weighted by rarity, in
    [0, 1]; `scores` their BM25; both are 0 where words have found nothing, and the key is the
    standing then. `named` marks the files whose name was asked for: they come first, where the
    name is most of the query. `trust` in [0, 1] is the probability that the vectors have an answer
    to the query at all; the less, the more words count.

    A sum of normalised scores, not of ranks: it keeps how far one is ahead (Bruch, Gai and
    Ingber, TOIS 2023).
    """
    scores = np.asarray(scores, np.float64)
    rare = np.clip(scores, COMMON_WORD, MOST_WORDS) - COMMON_WORD
    whole = np.square(shares)  # one word of several says little of what they say together
    words = WHOLE_QUERY * whole * scores / (scores + SMALL_WORDS) + RARE_WORDS * whole * rare
    asked = NAMED * (named & (shares > _NAMES_SHARE))
    keys = standings + (1 + DOUBT * (1 - trust) * whole) * words + asked
    return np.asarray(np.round(keys, _DECIMALS), np.float64)


def ordered(keys: _Numbers, ids: Ids) -> Positions:
    """Give the positions best first, (n,); of equal keys the lower id comes first."""
    return np.lexsort((ids, -keys))


def diversify(vectors: _Rows, keys: _Numbers, k: int, strength: float) -> Positions:
    """Choose k that are good and unlike each other, best first: positions (min(k, n),).

    Maximal marginal relevance (Carbonell and Goldstein, 1998): each next one has the best key
    less its greatest cosine to those chosen before. `vectors` (n, dim) and `keys` (n,) are in
    order, best first. Strength 0 leaves the order as it is, 1 looks at unlikeness alone; ties
    go by the order. Keys are taken in units of their spread, so that one far ahead of all (a
    file that was named) does not make the others equal. Raises BadInput for another strength.
    """
    if not 0 <= strength <= 1:
        raise BadInput(f"diversity is {strength}; it must be between 0 and 1")
    rows = np.asarray(vectors, np.float32)
    worth = (1 - strength) * _in_spreads(keys)
    likeness = np.zeros(len(rows))  # to the nearest of those chosen; what is opposite is unlike
    chosen = np.empty(min(max(k, 0), len(rows)), np.int64)
    for place in range(len(chosen)):
        best = int(np.argmax(worth - strength * likeness))
        chosen[place] = best
        worth[best] = -np.inf
        np.maximum(likeness, rows @ rows[best], out=likeness)
    return chosen


def groups(vectors: _Rows, threshold: float) -> Positions:
    """Give for each of a list the position of the first that it is a near duplicate of, (n,).

    `vectors` (n, dim) are in order, best first. The first leads a group of all that are not in one
    yet and have at least the cosine `threshold` to it; it is its own first. Members are near
    their leader, not merely near each other: a chain of small steps does not join two scenes.
    """
    rows = np.asarray(vectors, np.float32)
    firsts = np.full(len(rows), -1, np.int64)
    for leader in range(len(rows)):
        if firsts[leader] < 0:
            near = rows[leader:] @ rows[leader] >= threshold
            firsts[leader:][near & (firsts[leader:] < 0)] = leader
            firsts[leader] = leader  # where rounding leaves a row a little short of unit length
    return firsts


def _in_spreads(keys: _Numbers) -> Keys:
    """Scale keys by what lies between their 10th and 90th percentile."""
    if not len(keys):
        return np.zeros(0)
    low, high = np.percentile(keys, [10, 90])
    spread = high - low if high > low else 1.0
    return np.asarray(keys / spread, np.float64)
