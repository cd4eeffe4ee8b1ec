"""What runs in processes of its own beside a library: ``python -m tests.spaces.driver DO …``."""

import json
import sys
import time
from contextlib import closing
from pathlib import Path

from indexer.migrating import Settings, migrate, roll_back
from indexer.pipeline import index_into
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.encoder import Encoder
from searchx.errors import LibraryInUse
from searchx.search import Library
from tests.spaces.encoders import Bright, load

ALL = 1_000
QUERIES = ("red", "a blue sky", "black and white")


class Slow(Library):
    """Takes its time to load the next model, as a real one does."""

    def _load(self, name: str) -> Encoder:
        if self.is_loaded:
            time.sleep(0.3)
        return load(name)


def change(library: Path) -> None:
    migrate(library, Bright(), settings=Settings(rate=40, workers=0))


def change_slowly(library: Path) -> None:
    """Leave whoever is to end it some seconds to see that it is on its way."""
    migrate(library, Bright(), settings=Settings(rate=5, workers=0))


def back(library: Path) -> None:
    roll_back(library, load("colour"), settings=Settings(workers=0))


def index(library: Path) -> None:
    """Index what is new; a migration that is just switching is waited for."""
    options = Options(workers=0)
    while True:
        with closing(Catalog.open(library)) as catalog:
            serving = catalog.serving()
        assert serving is not None
        try:
            index_into(library, library.parent / "photos", load(serving.name), options=options)
        except LibraryInUse:
            time.sleep(0.05)
        else:
            return


def read(library: Path) -> None:
    """Ask until there is a file ``stop``, and write each answer down, or what went wrong."""
    out = library.parent / "answers.jsonl"
    stop = library.parent / "stop"
    with out.open("w", buffering=1) as file, closing(Catalog.open(library)) as catalog:
        opened = Slow(catalog)
        turn = 0
        while not stop.exists():
            query = QUERIES[turn % len(QUERIES)]
            turn += 1
            time.sleep(0.005)
            try:
                file.write(json.dumps([query, _answer(opened, query, turn)]) + "\n")
            except Exception as error:
                file.write(json.dumps([query, f"{type(error).__name__}: {error}"]) + "\n")
        opened.queries.close()


def _answer(library: Library, query: str, turn: int) -> list[tuple[int, float]]:
    """Give ids and scores of all pictures, by one of the ways to ask."""
    if turn % 2:
        ids, scores = library.search_batch([query], ALL)
        return [
            (int(one), float(score))
            for one, score in zip(ids[0], scores[0], strict=True)
            if one > 0
        ]
    return [(hit.id, hit.score) for hit in library.search(query, ALL)]


if __name__ == "__main__":
    ways = (change, change_slowly, back, index, read)
    {one.__name__: one for one in ways}[sys.argv[1]](Path(sys.argv[2]))
