"""How many pictures a GPU is best given at a time, found while it works."""

from typing import Final

_FIRST: Final = 128
_MOST: Final = 256
_CHEAPER: Final = 1.05  # so many times as many a second, or the larger size is not worth its memory


class BatchSize:
    """Doubled while that makes a picture cheaper, and less once memory ran out; not thread-safe."""

    def __init__(self, first: int = _FIRST, most: int = _MOST) -> None:
        self.now = first
        self.is_settled = first >= most
        self._most = most
        self._best = 0.0  # images a second
        self._seen = 0  # calls with this size

    def took(self, count: int, seconds: float) -> None:
        """Hear how long some pictures took; what is no more than one batch says nothing."""
        if self.is_settled or count <= self.now:
            return
        self._seen += 1
        if self._seen == 1:
            return  # what is only done once for a size was in it
        rate = count / max(seconds, 1e-9)
        if rate < _CHEAPER * self._best:
            self.now //= 2
            self.is_settled = True
            return
        self._best = rate
        self.is_settled = 2 * self.now > self._most
        if not self.is_settled:
            self.now *= 2
            self._seen = 0

    def limit(self, count: int) -> None:
        """Take no more than so many from now on: there is no memory for them."""
        self.now = max(1, min(self.now, count))
        self.is_settled = True
