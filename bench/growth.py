"""Whether it stays as fast in a table of 10 million tasks as in one of a thousand, and what a very long list costs.

Only ours: the others have no pages.
"""

import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

from bench.agreement import Client
from bench.contestants import OURS, Server, running
from bench.load import BenchError, finish, forget_peak, measure, memory, write_requests, wrk
from bench.operations import Request, token
from bench.results import note
from bench.stage import create_tables, postgresql
from bench.throughput import Plan
from paging import write_cursor
from tests.support.servers import Postgres

SMALL = 1000
DEPTH = 100_000
PAGE = 50
CONNECTIONS = (1, 16)
COLLECTOR = "collector"
SAMPLED = 1000

# Every so many-th task is one collector's, so that each of a page's rows is in another block of the table, as it is
# for somebody who has used the app for years. The others have ten tasks each.
FILL_USERS = """
INSERT INTO users (id, email, name)
SELECT id, id || '@example.com', initcap(id)
FROM (SELECT 'person-' || n AS id FROM generate_series(0, %s) AS n UNION ALL SELECT 'collector') AS people
"""
FILL_TASKS = """
INSERT INTO tasks (user_id, title, description, completed, due_date, created_at, updated_at)
SELECT CASE WHEN n %% %s = 0 THEN 'collector' ELSE 'person-' || n %% %s END, 'Water the plants, part ' || n,
    CASE WHEN n %% 4 > 0 THEN 'A few words on number ' || n END,
    n %% 3 = 0, CASE WHEN n %% 2 = 0 THEN date '2026-01-01' + (n %% 365)::int END,
    timestamptz '2020-01-01' + n * interval '1.370001 s', timestamptz '2026-02-01'
FROM generate_series(1, %s) AS n
"""
SAMPLE = "SELECT id, user_id FROM tasks WHERE id = ANY (%s) AND user_id <> 'collector'"
COUNT = "SELECT count(*) FROM tasks WHERE user_id = 'collector'"
ROW_AT = """
SELECT created_at, id FROM tasks WHERE user_id = 'collector' ORDER BY created_at DESC, id DESC OFFSET %s LIMIT 1
"""


@dataclass(frozen=True)
class Table:
    """One size: its server, the requests' files, and what is in it."""

    server: Server
    files: Mapping[str, Path]
    tasks: int
    length: int
    depth: int


def growth(plan: Plan) -> dict[str, Any]:
    with postgresql() as postgres, ExitStack() as stack:
        small, large = (stack.enter_context(_table(postgres, tasks)) for tasks in (SMALL, plan.tasks))
        rows = list(_compare(small, large, plan))
        sizes = {
            name: {"tasks": each.tasks, "depth": each.depth} for name, each in (("small", small), ("large", large))
        }
        return {**sizes, "rows": rows, "long_list": _long_list(large, plan)}


@contextmanager
def _table(postgres: Postgres, tasks: int) -> Iterator[Table]:
    database = f"growth_{tasks}"
    create_tables(postgres, database)
    note(f"filling a table with {tasks:,} tasks")
    _fill(postgres, database, tasks)
    length = postgres.execute(database, COUNT)[0][0]
    depth = min(DEPTH, length - 2 * PAGE)
    with tempfile.TemporaryDirectory(prefix="tasks-bench-") as folder, running(OURS, postgres.url(database)) as server:
        requests = _requests(postgres, database, tasks, depth)
        files = {name: write_requests(Path(folder, name.replace(" ", "-")), lines) for name, lines in requests.items()}
        _check_pages(server, requests)
        yield Table(server, files, tasks, length, depth)


def _fill(postgres: Postgres, database: str, tasks: int) -> None:
    """Indexes are built afterwards, which takes a third of the time; the key to users is checked by no row."""
    people = tasks // 10
    indexes = postgres.execute(database, "SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'ix_tasks%'")
    for name, _ in indexes:
        postgres.execute(database, f"DROP INDEX {name}")
    postgres.execute(database, FILL_USERS, [people - 1])
    fill = "SET session_replication_role = replica; " + FILL_TASKS
    postgres.execute(database, fill, [max(5, tasks // (DEPTH + 1000)), people, tasks])
    for _, definition in indexes:
        postgres.execute(database, definition)
    postgres.execute(database, "VACUUM (ANALYZE)")


def _requests(postgres: Postgres, database: str, tasks: int, depth: int) -> dict[str, list[Request]]:
    """The same kinds for every size; `random` with a seed, so that every run reads the same rows."""
    ids = random.Random(3).sample(range(1, tasks + 1), min(SAMPLED, tasks))  # noqa: S311 - nothing is secret
    created_at, task_id = postgres.execute(database, ROW_AT, [depth - 1])[0]
    cursor = write_cursor("created", SimpleNamespace(created_at=created_at, id=task_id))
    page = f"/api/tasks?limit={PAGE}"
    return {
        "get": [
            Request("GET", f"/api/tasks/{id_}", token(owner))
            for id_, owner in postgres.execute(database, SAMPLE, [ids])
        ],
        "page of 50": [Request("GET", page, token(COLLECTOR))],
        "page of 50, deep": [Request("GET", f"{page}&cursor={cursor}", token(COLLECTOR))],
        "list of all": [Request("GET", "/api/tasks", token(COLLECTOR))],
    }


def _check_pages(server: Server, requests: Mapping[str, list[Request]]) -> None:
    client = Client(server.url)
    for name in ("page of 50", "page of 50, deep"):
        status, _, body = client.send(requests[name][0])
        if status != 200 or body.count(b'"id":') != PAGE:
            raise BenchError(f"{name} is answered with status {status} and {body[:200]!r}")
    client.close()


def _compare(small: Table, large: Table, plan: Plan) -> Iterator[dict[str, Any]]:
    """p50, for the median of the rounds, in which the two alternate."""
    for table in small, large:
        for name in ("get", "page of 50", "page of 50, deep"):
            measure(table.server, table.files[name], 16, min(plan.seconds, 2))
    for name, connections in product(("get", "page of 50", "page of 50, deep"), CONNECTIONS):
        note(f"{name}, {connections} connections")
        pairs = [_pair(small, large, name, connections, plan.seconds) for _ in range(plan.rounds)]
        middle = [median(pair[side] for pair in pairs) for side in (0, 1)]
        ratio = median(pair[1] / pair[0] for pair in pairs)
        yield {"request": name, "connections": connections, "small": middle[0], "large": middle[1], "ratio": ratio}


def _pair(small: Table, large: Table, name: str, connections: int, seconds: float) -> tuple[float, float]:
    """A thousand tasks have no great depth: the first page there, the deep one here."""
    before = measure(small.server, small.files[name.removesuffix(", deep")], connections, seconds)
    return before.p50, measure(large.server, large.files[name], connections, seconds).p50


def _long_list(table: Table, plan: Plan) -> dict[str, Any]:
    """What one person's whole list costs the server in memory, and other people in time."""
    note(f"a list of {table.length:,} tasks")
    cost = _memory(table)
    others = {str(count): _others(table, plan, count) for count in CONNECTIONS}
    return {"length": table.length, **cost, "others": others}


def _memory(table: Table) -> dict[str, float]:
    """Of a server that was warmed up with small requests only, in MiB; three lists, one after the other."""
    pid = table.server.process.pid
    request = Request("GET", "/api/tasks", token(COLLECTOR))
    forget_peak(pid)
    before = memory(pid)
    begun = time.perf_counter()
    client = Client(table.server.url)
    sizes = [len(client.send(request)[2]) for _ in range(3)]
    client.close()
    seconds = (time.perf_counter() - begun) / 3
    peak = memory(pid, "VmHWM")
    return {"bytes": sizes[0], "seconds": seconds, "before": before, "peak": peak, "growth": peak - before}


def _others(table: Table, plan: Plan, connections: int) -> dict[str, float]:
    """Other people's get without and during the list, alternately; p99 in ms."""
    without, during = [], []
    for _ in range(plan.rounds):
        without.append(measure(table.server, table.files["get"], connections, plan.seconds).p99)
        with wrk(table.server.url, table.files["list of all"], 1, plan.seconds + 2) as lists:
            time.sleep(0.5)
            during.append(measure(table.server, table.files["get"], connections, plan.seconds).p99)
            finish(lists, "the long list")
    ratio = median(b / a for a, b in zip(without, during, strict=True))
    return {"without": median(without), "during": median(during), "ratio": ratio}
