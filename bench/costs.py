"""What a request costs the app and PostgreSQL, a task the disk, and what workers and a pooler bring. Only ours.

The simulation computes with these figures.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from bench.contestants import OURS, ROOT, SERVE_OURS, Server, environment
from bench.load import Load, cpu_seconds, measure, write_requests
from bench.operations import OPERATIONS, Request, token
from bench.results import note
from bench.stage import MAKERS, OnPostgres, stage
from bench.throughput import Plan
from tests.support.processes import serve
from tests.support.proxy import free_port
from tests.support.servers import PgBouncer, Postgres

LONG = 200
LONG_LIST = f"list of {LONG}"
COSTED = (*OPERATIONS, LONG_LIST, "delete")
KEEPERS = [f"keeper-{number}" for number in range(20)]
# Enough that wrk does not come to the end of them.
DELETED = 60_000
STORED = 500_000

ADD_KEEPERS = "INSERT INTO users (id) SELECT unnest(%s) ON CONFLICT DO NOTHING"
FILL = """
INSERT INTO tasks (user_id, title, description, due_date, created_at, updated_at)
SELECT who, 'Water the plants, part ' || n, CASE WHEN n %% 4 > 0 THEN 'A few words on number ' || n END,
    CASE WHEN n %% 2 = 0 THEN date '2026-01-01' + n %% 365 END, now() + n * interval '1 us', now()
FROM generate_series(1, %s) AS n, unnest(%s) AS who
"""
# Ids as long as Better Auth's, and tasks of different people in turn, as they come: index pages split in their middle.
FILL_STORE = """
CREATE TABLE store (LIKE tasks INCLUDING ALL);
INSERT INTO store (user_id, title, description, due_date, created_at, updated_at)
SELECT md5((n * 7919::bigint %% 25000)::text), 'Water the plants, part ' || n,
    CASE WHEN n %% 4 > 0 THEN 'A few words on number ' || n END,
    CASE WHEN n %% 2 = 0 THEN date '2026-01-01' + n %% 365 END, now() + n * interval '1 ms', now()
FROM generate_series(1, %s) AS n
"""
DELETABLE = "SELECT id, user_id FROM tasks WHERE user_id = ANY(%s) ORDER BY id"
SIZES = "SELECT pg_table_size('store'), pg_indexes_size('store')"
WAL = "SELECT pg_current_wal_lsn() - '0/0'"


def costs(plan: Plan) -> dict[str, Any]:
    """`operations`: samples of µs and bytes; `workers` and `pooler`: of requests/s; `storage`: bytes a task."""
    with stage([OURS]) as scene:
        server = scene.servers[0]
        measure(server, scene.files["get"], 16, min(plan.seconds, 2))
        samples = [
            {"round": number, **_cost(scene, server, name, plan.seconds)}
            for number in range(plan.rounds)
            for name in COSTED
        ]
        connection = _connection(scene.postgres, server.database)  # while those of the measurement are still open
        return {
            "operations": samples,
            "connection": connection,
            "workers": list(_alternating(scene, plan, {"1": _workers(scene, 1), "2": _workers(scene, 2)}, (16, 128))),
            "pooler": list(
                _alternating(scene, plan, {"direct": _workers(scene, 1), "pooler": _pooled(scene)}, (1, 16))
            ),
            "storage": _storage(scene.postgres, server.database),
        }


def _cost(scene: OnPostgres, server: Server, name: str, seconds: float) -> dict[str, Any]:
    """`app` and `database` are µs of CPU a request, `wal` its bytes of PostgreSQL's log, without images of pages."""
    note(f"what {name} costs")
    scene.restore(server)
    file = _special(scene, server, name) or scene.files[name]
    before, log = family_seconds(scene.postgres.pid), _logged(scene.postgres)
    load = measure(server, file, 16, seconds)
    spent, written = family_seconds(scene.postgres.pid) - before, _logged(scene.postgres) - log
    return {
        "operation": name,
        "app": load.cpu * 100,
        "database": spent / load.requests * 1e6,
        "wal": written / load.requests,
        "rate": load.rate,
    }


def _special(scene: OnPostgres, server: Server, name: str) -> Path | None:
    """The requests of an operation that needs more tasks, which are made."""
    if name == LONG_LIST:
        scene.postgres.execute(server.database, ADD_KEEPERS, [KEEPERS])
        scene.postgres.execute(server.database, FILL, [LONG, KEEPERS])
        requests = [Request("GET", "/api/tasks", token(keeper)) for keeper in KEEPERS]
    elif name == "delete":
        scene.postgres.execute(server.database, FILL, [DELETED // len(MAKERS), MAKERS])
        tasks = scene.postgres.execute(server.database, DELETABLE, [MAKERS])
        requests = [Request("DELETE", f"/api/tasks/{task_id}", token(owner)) for task_id, owner in tasks]
    else:
        return None
    return write_requests(scene.files["list"].with_name("special"), requests)


def _logged(postgres: Postgres) -> int:
    return int(postgres.execute("postgres", WAL)[0][0])


def family_seconds(pid: int) -> float:
    """User and system time of a process and its children, those that have ended included."""
    seconds = cpu_seconds(pid, ended_children=True)
    for child in _children(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            seconds += cpu_seconds(child)
    return seconds


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


Start = Callable[[], Any]


def _alternating(
    scene: OnPostgres, plan: Plan, starts: Mapping[str, Start], connections: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    """One after the other, and each round another one begins."""
    for number in range(plan.rounds):
        for name in sorted(starts, reverse=number % 2 > 0):
            with starts[name]() as (server, pooler):
                measure(server, scene.files["get"], 16, 1)
                for clients in connections:
                    for operation in ("get", "create"):
                        scene.restore(scene.servers[0])
                        begun = cpu_seconds(pooler) if pooler else 0.0
                        load = measure(server, scene.files[operation], clients, plan.seconds)
                        spent = cpu_seconds(pooler) - begun if pooler else 0.0
                        yield _sample(number, name, operation, clients, load, spent)


def _sample(number: int, name: str, operation: str, clients: int, load: Load, spent: float) -> dict[str, Any]:
    note(f"round {number + 1}, {name}: {operation} on {clients} connections")
    where = {"round": number, "with": name, "operation": operation, "connections": clients}
    return {**where, "rate": load.rate, "p50": load.p50, "p99": load.p99, "pooler": spent / load.requests * 1e6}


def _workers(scene: OnPostgres, count: int) -> Start:
    url = scene.postgres.url(scene.servers[0].database)
    return lambda: _serving(url, scene.servers[0].database, {"WEB_CONCURRENCY": str(count)})


def _pooled(scene: OnPostgres) -> Start:
    @contextmanager
    def start() -> Iterator[tuple[Server, int | None]]:
        database = scene.servers[0].database
        with PgBouncer(scene.postgres) as pooler, _serving(pooler.url(database), database, {}) as (server, _):
            yield server, pooler.pid

    return start


@contextmanager
def _serving(url: str, database: str, variables: Mapping[str, str]) -> Iterator[tuple[Server, int | None]]:
    port = free_port()
    everything = {**environment(url, port), **variables}
    with serve(SERVE_OURS, everything, f"http://127.0.0.1:{port}/ready", cwd=ROOT) as process:
        yield Server(OURS, process, port, database), None


def _storage(postgres: Postgres, database: str) -> dict[str, float]:
    """Bytes a task, and how many a second come in one statement."""
    note(f"storing {STORED:,} tasks")
    begun = time.perf_counter()
    postgres.execute(database, FILL_STORE, [STORED])
    seconds = time.perf_counter() - begun
    table, indexes = postgres.execute(database, SIZES)[0]
    return {"tasks": STORED, "table": table / STORED, "indexes": indexes / STORED, "rate": STORED / seconds}


def _connection(postgres: Postgres, database: str) -> dict[str, float]:
    """MiB that the process of a connection keeps for itself alone, of those that the app holds."""
    name = f"{database} 127.0.0.1".encode()
    own = []
    for pid in _children(postgres.pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if name in Path(f"/proc/{pid}/cmdline").read_bytes():
                own.append(_own(pid))
    return {"backends": len(own), "own": median(own)}


def _own(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
