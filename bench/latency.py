"""One client, and a database that is 20 ms away: how long each operation takes, and in how many round trips."""

import time
from collections.abc import Iterator
from itertools import cycle, islice
from statistics import median
from typing import Any

from bench.agreement import Client, check_agreement
from bench.contestants import Server
from bench.load import BenchError
from bench.operations import OPERATIONS, Request
from bench.results import note, percentile
from bench.stage import OnPostgres, stage
from bench.throughput import Plan
from tests.support.proxy import Proxy

ROUND_TRIP = 0.02
REQUESTS_A_SECOND = 20  # so that --seconds says how many are sent, the same number to all


def latency(plan: Plan) -> dict[str, dict[str, Any]]:
    """Figures by contestant and operation."""
    with stage(plan.contestants, slow=True) as scene:
        check_agreement(scene)
        count = max(10, round(plan.seconds * REQUESTS_A_SECOND))
        return {server.name: dict(_operations(scene, server, count)) for server in scene.servers}


def _operations(scene: OnPostgres, server: Server, count: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Everything that happens once, such as preparing a statement, happens before the clock runs."""
    note(f"20 ms away: {server.name}")
    client = Client(server.url)
    for operation in OPERATIONS:
        scene.proxy.delay = 0
        list(_durations(client, scene.requests[operation], 250))
        scene.proxy.delay = ROUND_TRIP
        yield operation, _figures(scene.proxy, client, scene.requests[operation], count)
    scene.proxy.delay = 0
    client.close()
    scene.restore(server)


def _figures(proxy: Proxy, client: Client, requests: list[Request], count: int) -> dict[str, float]:
    proxy.reset()
    durations = list(_durations(client, requests, count))
    p50 = median(durations)
    return {
        "p50": p50 * 1000,
        "p99": percentile(durations, 99) * 1000,
        "p50_round_trips": p50 / ROUND_TRIP,
        "counted_round_trips": proxy.round_trips / count,
    }


def _durations(client: Client, requests: list[Request], count: int) -> Iterator[float]:
    """In seconds."""
    for request in islice(cycle(requests), count):
        begun = time.perf_counter()
        status, _, body = client.send(request)
        yield time.perf_counter() - begun
        if status not in (200, 201):
            raise BenchError(f"{request.method} {request.path}: {status} {body!r}")
