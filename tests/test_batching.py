"""Vectors for many who ask at once: the same as one by one, each embedded once, never too many."""

import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from searchx.batching import QueryVectors
from searchx.errors import Busy, UnreadableImage
from searchx.records import Kind, Pixels, Vectors
from tests.colour import COLOURS, ColourEncoder


class Gated(ColourEncoder):
    """Embeds nothing until it is let; remembers what came in one call."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go = threading.Event()
        self.may_go.set()
        self.calls: list[int] = []

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(len(texts))
        assert self.may_go.wait(20)
        return super().embed_texts(texts)

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        self.calls.append(len(pixels))
        assert self.may_go.wait(20)
        return super().embed_images(pixels)


@contextmanager
def queries_of(encoder: Gated, **settings: int) -> Iterator[QueryVectors]:
    queries = QueryVectors(lambda: encoder, **settings)
    try:
        yield queries
    finally:
        encoder.may_go.set()
        queries.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def packed(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(file, "PNG")
    return file.getvalue()


def test_many_at_once_get_what_each_gets_alone() -> None:
    encoder = Gated()
    texts = [f"{one} and {other}" for one in COLOURS for other in COLOURS]
    expected = ColourEncoder().embed_texts(texts)
    with queries_of(encoder) as queries, ThreadPoolExecutor(len(texts)) as threads:
        encoder.may_go.clear()
        found = [threads.submit(queries.text, one) for one in texts]
        until(lambda: queries.waiting == len(texts))
        encoder.may_go.set()
        rows = np.stack([one.result(20) for one in found])
        assert np.allclose(rows, expected, atol=1e-6)
        assert len(encoder.calls) < len(texts) / 8
        assert max(encoder.calls) <= 32
        assert queries.waiting == 0


def test_one_alone_does_not_wait_for_others() -> None:
    encoder = Gated()
    with queries_of(encoder) as queries:
        queries.text("red")
        began = time.perf_counter()
        for number in range(20):
            queries.text(f"red {number}")
        assert encoder.calls == [1] * 21
        assert time.perf_counter() - began < 2


def test_the_same_at_the_same_time_is_embedded_once() -> None:
    encoder = Gated()
    with queries_of(encoder) as queries, ThreadPoolExecutor(16) as threads:
        encoder.may_go.clear()
        texts = [threads.submit(queries.text, "red") for _ in range(8)]
        pictures = [threads.submit(queries.picture, packed("blue")) for _ in range(8)]
        until(lambda: len(encoder.calls) == 2)
        encoder.may_go.set()
        assert len({id(one.result(20)) for one in texts}) == 1
        assert len({id(one.result(20)) for one in pictures}) == 1
        assert encoder.calls == [1, 1]


def test_vectors_are_kept_as_many_as_may_be() -> None:
    encoder = Gated()
    with queries_of(encoder, kept=2) as queries:
        for text in ("red", "green", "red", "blue", "red", "green"):
            queries.text(text)
        assert sum(encoder.calls) == 4  # green was dropped for blue: red was asked since
        assert not queries.text("red").flags.writeable


def test_what_differs_in_kind_or_space_is_not_mistaken() -> None:
    encoder = Gated()
    with queries_of(encoder) as queries:
        queries.text("red")
        encoder.space = ColourEncoder("another").space
        queries.text("red")
        assert encoder.calls == [1, 1]


def test_beyond_what_may_wait_it_is_said_at_once() -> None:
    encoder = Gated()
    with queries_of(encoder, waiting=3) as queries, ThreadPoolExecutor(4) as threads:
        encoder.may_go.clear()
        found = [threads.submit(queries.text, colour) for colour in ("red", "green", "blue")]
        until(lambda: queries.waiting == 3)
        with pytest.raises(Busy, match="too many queries"):
            queries.text("white")
        shared = threads.submit(queries.text, "red")  # costs nothing
        encoder.may_go.set()
        assert all(one.result(20).shape == (4,) for one in [*found, shared])
        assert queries.text("white").shape == (4,)


def test_a_picture_that_cannot_be_read_costs_no_other_its_answer() -> None:
    encoder = Gated()
    with queries_of(encoder) as queries, ThreadPoolExecutor(8) as threads:
        found = [threads.submit(queries.picture, b"no picture") for _ in range(4)]
        good = threads.submit(queries.picture, packed("red"))
        for one in found:
            with pytest.raises(UnreadableImage):
                one.result(20)
        assert good.result(20).shape == (4,)
        assert queries.waiting == 0


class Picky(Gated):
    """Fails for all that come together with black."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        rows = super().embed_texts(texts)
        if "black" in texts:
            raise ValueError("not black")
        return rows


def test_what_fails_fails_alone() -> None:
    encoder = Picky()
    with queries_of(encoder, threads=1) as queries, ThreadPoolExecutor(8) as threads:
        encoder.may_go.clear()
        found = {one: threads.submit(queries.text, one) for one in ("red", "black", "green")}
        until(lambda: queries.waiting == 3)
        encoder.may_go.set()
        with pytest.raises(ValueError, match="not black"):
            found["black"].result(20)
        assert found["red"].result(20).shape == found["green"].result(20).shape == (4,)


def test_who_still_waits_is_told_when_it_is_closed() -> None:
    encoder = Gated()
    queries = QueryVectors(lambda: encoder, threads=1)
    with ThreadPoolExecutor(4) as threads:
        encoder.may_go.clear()
        first = threads.submit(queries.text, "red")
        until(lambda: bool(encoder.calls))
        late = threads.submit(queries.text, "green")
        until(lambda: queries.waiting == 2)
        closing = threads.submit(queries.close)
        with pytest.raises(Busy):
            late.result(20)
        encoder.may_go.set()
        assert first.result(20).shape == (4,)
        closing.result(20)
    with pytest.raises(Busy):
        queries.text("blue")


def test_who_gets_no_thread_is_refused_and_the_next_one_is_answered() -> None:
    encoder = Gated()
    with queries_of(encoder) as queries:
        before = threading.stack_size(1 << 46)  # more than any system gives
        try:
            with pytest.raises(Busy, match="no thread"):
                queries.text("red")
        finally:
            threading.stack_size(before)
        assert queries.waiting == 0
        assert queries.text("red").shape == queries.text("green").shape == (4,)


class Short(Gated):
    """Loses the last vector of some pictures."""

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        return super().embed_images(pixels)[:-1]


def test_a_vector_that_is_missing_is_told_and_costs_no_thread() -> None:
    with queries_of(Short(), threads=1) as queries:
        with pytest.raises(ValueError):
            queries.picture(packed("red"))
        assert queries.waiting == 0
        assert queries.text("blue").shape == (4,)


class Fails:
    """Cannot hear of a batch."""

    def looked_up(self, kind: Kind, found: str) -> None: ...

    def embedded(self, kind: Kind, count: int, seconds: float) -> None:
        raise OSError("no space left")

    def spent(self, step: str, seconds: float) -> None: ...


def test_a_watch_that_fails_costs_no_answer() -> None:
    with queries_of(Gated(), threads=1) as queries:
        queries.watch = Fails()
        assert queries.text("red").shape == queries.text("green").shape == (4,)
