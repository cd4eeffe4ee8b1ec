"""What is measured of a service, in the text form of Prometheus: https://prometheus.io."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from searchx.errors import SearchxError
from searchx.records import Kind
from searchx.search import Library

SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"  # where the processes of one service count together
MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The figures of one application, in a registry of its own. Nothing of a query is in them.

    Several processes count together where PROMETHEUS_MULTIPROC_DIR was set before the first of
    them was made, as `searchx serve --workers` does.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._shared = os.environ.get(SHARED)
        own = CollectorRegistry()
        self._registry = CollectorRegistry() if self._shared else own
        if self._shared:
            MultiProcessCollector(self._registry, path=self._shared)  # type: ignore[no-untyped-call]
        self._registry.register(_OfLibrary(library))
        self._requests = Counter(
            "searchx_requests", "Requests answered.", ("method", "route", "status"), registry=own
        )
        self._seconds = Histogram(
            "searchx_request_seconds",
            "From the request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=own,
        )
        self._stages = Histogram(
            "searchx_stage_seconds",
            "What the steps of a search take.",
            ("stage",),
            buckets=_SECONDS,
            registry=own,
        )
        self._batches = Histogram(
            "searchx_batch_size",
            "Texts or pictures embedded in one call.",
            ("kind",),
            buckets=_SIZES,
            registry=own,
        )
        self._lookups = Counter(
            "searchx_query_vectors",
            "Vectors of queries: kept from before, shared with a query under way, or embedded.",
            ("kind", "found"),
            registry=own,
        )
        self._waiting = Gauge(
            "searchx_queries_waiting",
            "Texts and pictures that wait for their vector.",
            registry=own,
            multiprocess_mode="livesum",
        )
        self._running = Gauge(
            "searchx_requests_running",
            "Requests that are not answered yet, waiting or at work.",
            registry=own,
            multiprocess_mode="livesum",
        )
        self._ready = Gauge(
            "searchx_ready",
            "1 where the model is loaded (by all processes).",
            registry=own,
            multiprocess_mode="livemin",
        )
        self._ready.set(library.is_loaded)
        library.queries.watch = self

    def written(self) -> bytes:
        """Give all figures as Prometheus reads them."""
        self._ready.set(self._library.is_loaded)
        return generate_latest(self._registry)

    def began(self) -> None:
        """Count a request that is to be answered."""
        self._running.inc()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that has its answer."""
        self._running.dec()
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def looked_up(self, kind: Kind, found: str) -> None:
        """Count a vector that a query asked for."""
        self._lookups.labels(kind, found).inc()
        self._waiting.set(self._library.queries.waiting)

    def embedded(self, kind: Kind, count: int, seconds: float) -> None:
        """Count a batch; the first one is embedded as soon as the model is there."""
        self._ready.set(self._library.is_loaded)  # also of a process that is never asked here
        self._batches.labels(kind).observe(count)
        self._stages.labels("batch").observe(seconds)
        self._waiting.set(self._library.queries.waiting)

    def spent(self, step: str, seconds: float) -> None:
        """Count a step of a search."""
        self._stages.labels(step).observe(seconds)


class _OfLibrary(Collector):
    """What is so at the moment of asking, and the same for all processes."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def collect(self) -> Iterable[Metric]:
        items = GaugeMetricFamily("searchx_items", "Items in the library.", labels=["kind"])
        ages = GaugeMetricFamily(
            "searchx_index_age_seconds", "Since an index was built.", labels=["kind"]
        )
        try:
            held = self._library.overview()
            items.add_metric(["image"], held.images)
            items.add_metric(["text"], held.texts)
            for kind, built in self._library.built().items():
                ages.add_metric([kind], max(time.time() - built, 0.0))
        except SearchxError:
            pass  # /readyz tells what is wrong; the other figures are worth having
        return [items, ages]

    def describe(self) -> Iterable[Metric]:
        return []  # else it would be asked when it is registered


def shared_with(folder: Path) -> dict[str, str]:
    """Give the setting by which processes count together."""
    return {SHARED: str(folder)}
