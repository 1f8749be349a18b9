"""What each order of a long list costs its reader, and what each index costs whoever creates or toggles. Only ours."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from types import SimpleNamespace
from typing import Any

from bench.agreement import Client
from bench.contestants import OURS, Server
from bench.fairness import FILL, HOARD, HOARDER
from bench.load import BenchError, measure, write_requests
from bench.operations import Request, token
from bench.results import note
from bench.stage import OnPostgres, stage
from bench.throughput import Plan
from paging import Sort, write_cursor
from tests.support.servers import Postgres

DEEP = 9 * HOARD // 10
ROW_AT = {
    "created": "created_at DESC, id DESC",
    "title": 'lower(title) COLLATE "C", id',
    "due_date": "due_date NULLS LAST, id",
}
# Left out in turn: the indexes of these names.
WITHOUT: dict[str, tuple[str, ...]] = {
    "all indexes": (),
    "without title": ("ix_tasks_user_id_title",),
    "without due_date": ("ix_tasks_user_id_due_date",),
    "without both": ("ix_tasks_user_id_title", "ix_tasks_user_id_due_date"),
    "without completed": ("ix_tasks_user_id_completed",),
}


def orders(plan: Plan) -> dict[str, Any]:
    """`lists`: seconds and p50 in ms for each order; `indexes`: requests per second without each index."""
    with stage([OURS]) as scene:
        indexes = _indexes(scene, scene.servers[0], plan)
        database = scene.servers[0].database
        scene.postgres.execute(database, FILL, [HOARDER, HOARD])
        scene.postgres.execute(database, "VACUUM (ANALYZE) tasks")
        lists = {sort: _list(scene, scene.servers[0], sort, plan) for sort in ROW_AT}
        return {"length": HOARD, "lists": lists, "indexes": indexes}


def _list(scene: OnPostgres, server: Server, sort: Any, plan: Plan) -> dict[str, float]:
    note(f"by {sort}")
    path, key = f"/api/tasks?sort={sort}", token(HOARDER)
    deep = f"{path}&limit=50&cursor={_cursor(scene.postgres, server.database, sort)}"
    pages = {}
    for name, target in (("first", f"{path}&limit=50"), ("deep", deep)):
        file = write_requests(scene.files["get"].with_name(f"page-{name}"), [Request("GET", target, key)])
        pages[name] = median(measure(server, file, 1, plan.seconds).p50 for _ in range(plan.rounds))
    client = Client(server.url)
    seconds = median(_seconds(client, Request("GET", path, key)) for _ in range(plan.rounds))
    client.close()
    return {"seconds": seconds, **pages, "ratio": pages["deep"] / pages["first"]}


def _cursor(postgres: Postgres, database: str, sort: Sort) -> str:
    columns = "created_at, title, due_date, id"
    where = f"FROM tasks WHERE user_id = %s ORDER BY {ROW_AT[sort]} OFFSET %s LIMIT 1"
    row = postgres.execute(database, f"SELECT {columns} {where}", [HOARDER, DEEP])[0]
    return write_cursor(sort, SimpleNamespace(**dict(zip(columns.split(", "), row, strict=True))))


def _seconds(client: Client, request: Request) -> float:
    begun = time.perf_counter()
    status, _, body = client.send(request)
    if status != 200 or body.count(b'"id":') < HOARD:
        raise BenchError(f"{request.path} is answered with status {status} and {len(body)} bytes")
    return time.perf_counter() - begun


def _indexes(scene: OnPostgres, server: Server, plan: Plan) -> dict[str, dict[str, float]]:
    rates: dict[str, dict[str, list[float]]] = {name: {"create": [], "toggle": []} for name in WITHOUT}
    for number in range(plan.rounds):
        note(f"indexes, round {number + 1} of {plan.rounds}")
        for name, dropped in WITHOUT.items():
            scene.restore(server)
            with _without(scene.postgres, server.database, dropped):
                for operation, found in rates[name].items():
                    found.append(measure(server, scene.files[operation], 16, plan.seconds).rate)
    return {name: {operation: median(found) for operation, found in each.items()} for name, each in rates.items()}


@contextmanager
def _without(postgres: Postgres, database: str, names: tuple[str, ...]) -> Iterator[None]:
    definition = "SELECT indexdef FROM pg_indexes WHERE indexname = %s"
    definitions = [postgres.execute(database, definition, [name])[0][0] for name in names]
    for name in names:
        postgres.execute(database, f"DROP INDEX {name}")
    yield
    for statement in definitions:
        postgres.execute(database, statement)
