"""The metrics of all workers, added up and served to Prometheus by the process that started them.

Imported only with METRICS_PORT, because prometheus-client is.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from socket import AF_INET, AF_INET6
from socketserver import ThreadingTCPServer
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from web.metrics import BOUNDS, FOLDER

logger = logging.getLogger("todo.metrics")

# Seconds after which a scraper that sends nothing is disconnected.
SCRAPE_TIMEOUT = 10
# Seconds between two looks of the server at whether it is to end.
POLL_INTERVAL = 0.1

BUCKETS = (*map(str, BOUNDS), "+Inf")
COUNTERS = {
    "http_requests": ("Requests, by the template of their route.", ["route", "method", "status"]),
    "tokens_refused": ("Requests answered 401.", ["reason"]),
    "jwks_fetches": ("Fetches of Better Auth's public keys.", ["outcome"]),
    "database_pool_refused": ("Calls turned away because too many waited for the database.", []),
    "database_queries_given_up": ("Calls of the database whose deadline passed, or whose caller left.", ["reason"]),
}
GAUGES = {
    "workers": "Processes that serve.",
    "database_pool_in_use": "Calls that the database is working on.",
    "database_pool_idle": "Open connections without a call.",
    "database_pool_waiting": "Calls that wait for a connection.",
}

Totals = dict[tuple[str, tuple[str, ...]], list[float]]


class Workers(Collector):
    """The files of the workers, which each write theirs once a second.

    A worker's counters stay after its end, in `_ended`; its gauges and its file do not.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ended: Totals = {}
        # Prometheus may ask twice at once.
        self._lock = Lock()

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            counters, gauges = self._read()
        for name, (documentation, labels) in COUNTERS.items():
            yield _counter(name, documentation, labels, counters)
        yield _durations(counters)
        for name, documentation in GAUGES.items():
            yield GaugeMetricFamily(f"todo_{name}", documentation, value=sum(gauges.get((name, ()), ())))

    def _read(self) -> tuple[Totals, Totals]:
        counters: Totals = {}
        gauges: Totals = {}
        for file in self._folder.glob("*.json"):
            # Asked before its file is read: what a worker has written before its end is all that it will write.
            alive = _is_alive(int(file.name.partition("-")[0]))
            content = json.loads(file.read_bytes())
            _add(content["counters"], counters if alive else self._ended)
            if alive:
                _add(content["gauges"], gauges)
            else:
                file.unlink()
        _add([(*key, values) for key, values in self._ended.items()], counters)
        return counters, gauges


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        # There is none, or its id has gone to somebody else's.
        return False
    return True


def _add(samples: list[Any], totals: Totals) -> None:
    for name, labels, values in samples:
        key = (name, tuple(labels))
        totals[key] = [a + b for a, b in zip(totals[key], values, strict=True)] if key in totals else values


def _counter(name: str, documentation: str, labels: list[str], counters: Totals) -> Metric:
    family = CounterMetricFamily(f"todo_{name}", documentation, labels=labels)
    for (found, label_values), values in counters.items():
        if found == name:
            # Of requests, the last value is the sum of their seconds.
            counts = values[:-1] if name == "http_requests" else values
            family.add_metric(label_values, sum(counts))
    return family


def _durations(counters: Totals) -> Metric:
    """Of requests, whatever their status."""
    totals: Totals = {}
    _add(
        [(found, labels[:2], values) for (found, labels), values in counters.items() if found == "http_requests"],
        totals,
    )
    family = HistogramMetricFamily(
        "todo_http_request_duration_seconds", "Seconds until the whole answer was sent.", labels=["route", "method"]
    )
    for (_, labels), (*counts, seconds) in totals.items():
        family.add_metric(labels, list(zip(BUCKETS, accumulate(counts), strict=True)), seconds)
    return family


class Handler(MetricsHandler):
    timeout = SCRAPE_TIMEOUT


class Server(ThreadingTCPServer):
    """Answers any path. Raises `OSError` when it cannot listen."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self.address_family = AF_INET6 if ":" in host else AF_INET
        super().__init__((host, port), Handler.factory(registry))

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """The base class prints it."""
        logger.warning("A scrape failed: %s", sys.exception())


@contextmanager
def serve_metrics(host: str, port: int) -> Iterator[None]:
    """Serve the metrics of workers that are started in the block. Exits with a sentence when the port cannot be had."""
    with TemporaryDirectory(prefix="todo-metrics-") as folder:
        registry = CollectorRegistry()
        registry.register(Workers(Path(folder)))
        with _listen(host, port, registry) as server:
            Thread(target=server.serve_forever, args=(POLL_INTERVAL,), daemon=True).start()
            os.environ[FOLDER] = folder
            try:
                yield
            finally:
                del os.environ[FOLDER]
                server.shutdown()


def _listen(host: str, port: int, registry: CollectorRegistry) -> Server:
    try:
        return Server(host, port, registry)
    except OSError as error:
        raise SystemExit(
            f"Cannot start: METRICS_PORT is {port}, which cannot be had at {host} ({error.strerror}); "
            "give it a free port, or end what listens there."
        ) from None
