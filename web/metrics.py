"""What one process counts for Prometheus, without prometheus-client; `web/exposition.py` adds up the workers.

prometheus-client's histograms take no batch of observations, and 4 µs for each one in multiprocess mode.
"""

import asyncio
import json
import logging
import os
import secrets
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.types import Scope

from database import Database
from keys import KeySet

logger = logging.getLogger("todo.metrics")

# The folder that the process with the metrics' port made, in the environment of its workers.
FOLDER = "TODO_METRICS_FOLDER"
# Seconds between two writes of a worker's file.
INTERVAL = 1.0

# Label values must not come from a caller: whatever is not known is this one.
OTHER = "other"
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# Seconds: the upper bounds of the histogram's buckets. The longest wait for the database is 5.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

# Of a `Refused`.
REASONS = tuple(
    "missing header malformed algorithm key signature expired early claim issuer audience account".split()  # noqa: SIM905
)

# Metric, label values, value; of requests the count in each bucket, and the sum of their seconds.
Sample = tuple[str, Sequence[str], Sequence[float]]


class Metrics:
    """The counts of this process since its start, and how busy its database is now."""

    def __init__(self, database: Database, keys: KeySet) -> None:
        self._database, self._keys = database, keys
        self._requests: dict[tuple[str, str, int], list[float]] = {}
        self._refused = dict.fromkeys(REASONS, 0)
        self._complaining = True

    def count(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        method = scope["method"]
        key = (route, method if method in METHODS else OTHER, status)
        found = self._requests.get(key)
        if found is None:
            found = self._requests[key] = [0] * (len(BOUNDS) + 2)
        found[bisect_left(BOUNDS, seconds)] += 1
        found[-1] += seconds
        if "refused" in scope:
            self._refused[scope["refused"]] += 1

    def counters(self) -> list[Sample]:
        database = self._database
        return [
            *(
                ("http_requests", (route, method, str(status)), n)
                for (route, method, status), n in self._requests.items()
            ),
            *(("tokens_refused", (reason,), [n]) for reason, n in self._refused.items()),
            *(("jwks_fetches", (outcome,), [n]) for outcome, n in self._keys.fetches.items()),
            *(("database_queries_given_up", (reason,), [n]) for reason, n in database.given_up.items()),
            ("database_pool_refused", (), [database.statistics.refused]),
        ]

    def gauges(self) -> list[Sample]:
        statistics = self._database.statistics
        return [
            ("workers", (), [1]),
            ("database_pool_in_use", (), [statistics.in_use]),
            ("database_pool_idle", (), [statistics.idle]),
            ("database_pool_waiting", (), [statistics.waiting]),
        ]

    @contextmanager
    def written(self) -> Iterator[None]:
        """Write a file each `INTERVAL` and at the end of the block, in an event loop, for the process with the port."""
        folder = os.getenv(FOLDER)
        if not folder:
            logger.warning("There are no metrics: METRICS_PORT is set, and only `python main.py` serves that port.")
            yield
            return
        # A later process may have the same id.
        file = Path(folder, f"{os.getpid()}-{secrets.token_hex(8)}.json")
        task = asyncio.create_task(self._write_often(file))
        try:
            yield
        finally:
            task.cancel()
            self._write(file)

    async def _write_often(self, file: Path) -> None:
        while True:
            self._write(file)
            await asyncio.sleep(INTERVAL)

    def _write(self, file: Path) -> None:
        content: dict[str, Any] = {"counters": self.counters(), "gauges": self.gauges()}
        unfinished = file.with_suffix(".new")
        try:
            unfinished.write_text(json.dumps(content))
            unfinished.replace(file)
        except OSError as error:
            if self._complaining:
                logger.warning("The metrics cannot be written: %s", error)
            self._complaining = False
