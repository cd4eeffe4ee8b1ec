"""The last answers of a library, given again while nothing has changed that they rest on."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from searchx.records import Answer, Query

HITS: Final = 5_000  # in all answers that are kept: some 10 MB


class Answers:
    """Answers by what was asked, each with the state of the library then. For many threads."""

    def __init__(self, most: int = HITS) -> None:
        self._most = most
        self._answers: OrderedDict[Hashable, tuple[Hashable, Answer]] = OrderedDict()
        self._hits = 0
        self._changing = threading.Lock()

    def of(self, key: Hashable, state: Hashable, make: Callable[[], Answer]) -> tuple[Answer, bool]:
        """Give the answer to a key and whether it was kept; made anew where the state is another.

        No state comes twice: what is made while it changes is kept for one that is gone. Without a
        state nothing is kept.
        """
        if state is None:
            return make(), False
        with self._changing:
            kept = self._answers.get(key)
            if kept is not None and kept[0] == state:
                self._answers.move_to_end(key)
                return kept[1], True
        answer = make()
        self._keep(key, state, answer)
        return answer, False

    def _keep(self, key: Hashable, state: Hashable, answer: Answer) -> None:
        with self._changing:
            old = self._answers.pop(key, None)
            self._answers[key] = state, answer
            self._hits += _size(answer) - (_size(old[1]) if old else 0)
            while self._hits > self._most:
                self._hits -= _size(self._answers.popitem(last=False)[1][1])


def is_lasting(query: Query) -> bool:
    """Tell whether a query asks the same tomorrow: a picture may be another one by then.

    And it may be large.
    """
    return all(one.image is None for one in query.every_part)


def _size(answer: Answer) -> int:
    return len(answer.hits) + 1
