"""Another model takes over in a library that is asked all the time, indexed, and killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from indexer.pipeline import index_into
from indexer.planning import Options
from searchx.batching import embedded_texts
from searchx.catalog import Catalog
from searchx.encoder import Encoder
from searchx.pictures.images import open_image
from searchx.upkeep import verify
from tests.colour import ColourEncoder, paint
from tests.faults.scenarios import colour_of
from tests.spaces.driver import QUERIES
from tests.spaces.encoders import Bright

ROOT = Path(__file__).resolve().parent.parent.parent
KILLS = 3
FIRST, MORE = 40, 7
_PATIENCE = 120.0


def start(do: str, library: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.spaces.driver", do, str(library)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})


def run(do: str, library: Path) -> None:
    assert start(do, library).wait(_PATIENCE) == 0


@contextmanager
def reading(library: Path) -> Iterator[None]:
    reader = start("read", library)
    try:
        wait_for(lambda: answers(library), reader)
        yield
    finally:
        (library.parent / "stop").touch()
        assert reader.wait(_PATIENCE) == 0


def answers(library: Path) -> list[tuple[str, object]]:
    try:
        lines = (library.parent / "answers.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("]")]


def wait_for(seen: object, *running: "subprocess.Popen[bytes]") -> None:
    assert callable(seen)
    until = time.monotonic() + _PATIENCE
    while not seen():
        assert time.monotonic() < until
        assert all(one.poll() in (None, 0) for one in running)
        time.sleep(0.03)


def done(library: Path) -> int:
    """Count what the other model has embedded; -1 where it serves."""
    with closing(Catalog.open(library)) as catalog, catalog.beside() as beside:
        found = beside.space()
        return -1 if found is not None and found.has_served else beside.counts()[1]


def kill_on_the_way(library: Path, least: int) -> None:
    """Let it embed more than it had, then kill it."""
    process = start("change_slowly", library)
    wait_for(lambda: done(library) > least, process)
    process.kill()
    process.wait()
    assert done(library) > least


class Oracle:
    """What each model gives for each picture and query, computed without the library."""

    def __init__(self, library: Path) -> None:
        with closing(Catalog.open(library)) as catalog:
            ids, _, _ = catalog.read_vectors("image")
            self.first = set(ids[:FIRST].tolist())
            items = catalog.items(ids.tolist())
        self.scores = {
            encoder.space.name: self._scores(encoder, {id: one.path for id, one in items.items()})
            for encoder in (ColourEncoder(), Bright())
        }

    def _scores(self, encoder: Encoder, paths: dict[int, str]) -> dict[str, dict[int, float]]:
        pixels = [encoder.fit(open_image(Path(path))) for path in paths.values()]
        rows = encoder.embed_images(pixels).astype(np.float16).astype(np.float32)
        asked = embedded_texts(encoder, QUERIES)
        return {
            query: dict(zip(paths, (rows @ one).tolist(), strict=True))
            for query, one in zip(QUERIES, asked, strict=True)
        }

    def model_of(self, query: str, found: object) -> str:
        """Name the model that gave an answer; it has to be all of it, and of one model only."""
        assert isinstance(found, list), f"{query}: {found}"
        assert self.first <= {id for id, _ in found}, "something is missing"
        fitting = [
            name
            for name, scores in self.scores.items()
            if all(abs(scores[query][id] - score) < 2e-4 for id, score in found)
        ]
        assert len(fitting) == 1, f"{query}: an answer of no model, or of two"
        return fitting[0]


def test_no_query_fails_and_no_answer_is_of_two_models(tmp_path: Path) -> None:
    photos, library = tmp_path / "photos", tmp_path / "library"
    for number in range(FIRST):
        paint(photos / f"trip {number % 3}" / f"{number}.png", colour_of(number))
    index_into(library, photos, ColourEncoder(), options=Options(workers=0))
    with reading(library):
        least = 0
        for turn in range(KILLS):
            kill_on_the_way(library, least)
            least = done(library)
            paint(photos / f"more {turn}.png", colour_of(100 + turn))
            run("index", library)
        last = start("change", library)
        wait_for(lambda: done(library) != least, last)
        paint(photos / "while it goes on.png", colour_of(150))
        run("index", library)
        assert last.wait(_PATIENCE) == 0
        assert done(library) == -1
        wait_for(lambda: has_gone_over_to(library, "bright"))
        for turn in range(MORE - KILLS - 1):
            paint(photos / f"after {turn}.png", colour_of(200 + turn))
        run("index", library)
        run("back", library)
        wait_for(lambda: has_gone_over_to(library, "colour"))
    assert verify(library).as_dict()["ok"]
    oracle = Oracle(library)
    models = [oracle.model_of(query, found) for query, found in answers(library)]
    turns = [one for place, one in enumerate(models) if models[place - 1 : place] != [one]]
    assert turns == ["colour", "bright", "colour"]
    assert models.count("bright") > 3
    assert len(answers(library)[-1][1]) == FIRST + MORE  # type: ignore[arg-type]


def has_gone_over_to(library: Path, model: str) -> bool:
    """Tell by the last answer whether the reader has gone over to a model."""
    with (library.parent / "answers.jsonl").open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 8_000))
        query, found = json.loads(file.read().splitlines()[-2])
    if not isinstance(found, list):
        return False
    encoder: Encoder = ColourEncoder() if model == "colour" else Bright()
    with closing(Catalog.open(library)) as catalog:
        path = catalog.items([found[0][0]])[found[0][0]].path
    row = encoder.embed_images([encoder.fit(open_image(Path(path)))])[0]
    asked = embedded_texts(encoder, [query])[0]
    return bool(abs(float(row @ asked) - found[0][1]) < 1e-3)
