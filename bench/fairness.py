"""What one person's burst costs everybody else, operation by operation. Only ours."""

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from bench.contestants import OURS
from bench.load import Load, measure, write_requests, wrk
from bench.operations import Request, token
from bench.results import note
from bench.stage import OnPostgres, stage
from bench.throughput import Plan

BURST = 64
OTHERS = (1, 16)
HOARDER = "reader-0"
HOARD = 100_000

# Half without a date, and titles that are in no order.
FILL = """
INSERT INTO tasks (user_id, title, completed, due_date, created_at, updated_at)
SELECT %s, md5(n::text), n %% 7 = 0, CASE WHEN n %% 2 = 0 THEN date '2026-01-01' + n %% 365 END,
    timestamptz '2025-01-01' + n * interval '1.370001 s', timestamptz '2026-02-01'
FROM generate_series(1, %s) AS n
"""
OF_HOARDER = "SELECT id FROM tasks WHERE user_id = %s ORDER BY id LIMIT 1000"


def fairness(plan: Plan) -> list[dict[str, Any]]:
    """For each burst and number of other people's connections: the p50 of those without and during it, in ms."""
    with stage([OURS]) as scene:
        server = scene.servers[0]
        scene.postgres.execute(server.database, FILL, [HOARDER, HOARD])
        scene.postgres.execute(server.database, "VACUUM (ANALYZE) tasks")
        files = {name: write_requests(_file(scene, name), lines) for name, lines in _bursts(scene).items()}
        others = [request for request in scene.requests["get"] if request.token != token(HOARDER)]
        quiet = write_requests(_file(scene, "others"), others)
        measure(server, quiet, max(OTHERS), min(plan.seconds, 2))
        return [
            _row(scene, plan, name, file, quiet, connections) for name, file in files.items() for connections in OTHERS
        ]


def _file(scene: OnPostgres, name: str) -> Path:
    return scene.files["get"].with_name(f"burst-{name.replace(' ', '-')}")


def _bursts(scene: OnPostgres) -> Mapping[str, list[Request]]:
    key = token(HOARDER)
    ids = [row[0] for row in scene.postgres.execute(scene.servers[0].database, OF_HOARDER, [HOARDER])]
    paths = [f"/api/tasks/{task_id}" for task_id in ids]
    lists = {sort: [Request("GET", f"/api/tasks?sort={sort}", key)] for sort in ("created", "title", "due_date")}
    return {
        **{f"list of {HOARD:,} by {sort}": requests for sort, requests in lists.items()},
        "page of 500": [Request("GET", "/api/tasks?limit=500&sort=title", key)],
        "get": [Request("GET", path, key) for path in paths],
        "create": [Request("POST", "/api/tasks", key, '{"title": "Water the plants"}')],
        "update": [Request("PUT", path, key, '{"title": "Water them again"}') for path in paths],
        "toggle": [Request("PATCH", f"{path}/complete", key) for path in paths],
        "toggle one task": [Request("PATCH", f"{paths[0]}/complete", key)],
        "delete nothing": [Request("DELETE", "/api/tasks/0", key)],
    }


def _row(scene: OnPostgres, plan: Plan, name: str, burst: Path, quiet: Path, connections: int) -> dict[str, Any]:
    note(f"{name}, {connections} connections of others")
    server = scene.servers[0]
    without: list[Load] = []
    during: list[Load] = []
    for _ in range(plan.rounds):
        without.append(measure(server, quiet, connections, plan.seconds))
        with wrk(server.url, burst, BURST, plan.seconds + 2) as crowd:
            time.sleep(0.5)
            # Stops the benchmark when any answer to the others is none that they wanted, such as a 503.
            during.append(measure(server, quiet, connections, plan.seconds))
            crowd.terminate()
            crowd.communicate()
    pairs = [(before.p50, after.p50) for before, after in zip(without, during, strict=True)]
    return {
        "burst": name,
        "connections": connections,
        "without": median(before for before, _ in pairs),
        "during": median(after for _, after in pairs),
        "ratio": median(after / before for before, after in pairs),
    }
