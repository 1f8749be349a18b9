"""What the planners make of the indexes: a page is read from one of them in its order, without a sort."""

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

import store
from database import Caller, Database, Executables
from migrations.layout import prepare
from paging import MAXIMUM_ID, Position, Since, Sort, Status
from queries.changes import list_changes
from settings import Settings
from tests.support.servers import Postgres
from tests.support.tokens import SECRET

STATUSES: list[Status] = ["all", "pending", "completed"]
KEYS = {"created": "created_at", "title": "title", "due_date": "due_date"}
OWNER = "7"
PAGE = 20

NOW = datetime(2026, 1, 31, tzinfo=UTC)
# Half of the changes are later than the second one.
TOKENS = [None, Since(NOW, NOW, MAXIMUM_ID), Since(NOW, NOW, 1)]

# Of what such a function asks: a page of a list, or what changed since.
Plan = Callable[[Callable[[Caller], Awaitable[object]]], str]


class Row(NamedTuple):
    """What satisfies the queries."""

    latest: datetime
    forgotten: datetime = NOW
    id: None = None


class Explaining(Caller):
    """Has each statement planned and not run."""

    def __init__(self, database: Database, explain: Callable[[Executable, Mapping[str, Any]], str]) -> None:
        super().__init__(database, OWNER)
        self.explain = explain
        self.plan = ""

    async def execute(self, statement: Executables, values: Mapping[str, Any] | None = None) -> Any:
        assert isinstance(statement, Executable)
        self.plan = self.explain(statement, values or {})
        return [Row(NOW)]


def open_database(url: str) -> Database:
    database = Database(Settings(secret=SECRET, database_url=url).database, pool_size=1, prepare=prepare)
    asyncio.run(database.ready())
    return database


@pytest.fixture(scope="module")
def on_postgresql(postgres: Postgres) -> Iterator[tuple[Database, Plan]]:
    """10,000 tasks of one person and as many of 99 others, every second one dated."""
    name = postgres.create_database()
    database = open_database(postgres.url(name))
    postgres.execute(name, "INSERT INTO users (id) SELECT n::text FROM generate_series(1, 100) n")
    postgres.execute(
        name,
        "INSERT INTO tasks (user_id, title, completed, due_date, created_at, updated_at)"
        f" SELECT CASE WHEN n % 2 = 0 THEN '{OWNER}' ELSE (n % 100 + 1)::text END, 'Task ' || n, n % 7 = 0,"
        " CASE WHEN n / 2 % 2 = 0 THEN now() + n % 1000 * interval '1 day' END,"
        " now() - n * interval '1 s', now() - n * interval '1 s' FROM generate_series(1, 20000) n",
    )
    postgres.execute(name, "ANALYZE")
    dialect = PGDialect_psycopg2()  # type: ignore[no-untyped-call]

    def explain(statement: Executable, values: Mapping[str, Any]) -> str:
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        with closing(psycopg2.connect(postgres.url(name))) as connection, connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {compiled}", {**compiled.params, **values})
            return "\n".join(line for (line,) in cursor.fetchall())

    yield database, planner(database, explain)
    database.close()
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Plan]]:
    """200 tasks of one person, every second one dated."""
    path: Path = tmp_path_factory.mktemp("indexes") / "todo.db"
    database = open_database(f"sqlite:///{path}")
    dialect = SQLiteDialect_pysqlite(paramstyle="named")
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("lower", 1, str.lower, deterministic=True)
        connection.create_collation("C", lambda left, right: (left > right) - (left < right))
        insert = "INSERT INTO tasks (user_id, title, completed, due_date, created_at, updated_at) VALUES"
        connection.execute(f"INSERT INTO users (id) VALUES ({OWNER})")
        for number in range(200):
            due, created = ("'2026-01-31'" if number % 2 else "NULL"), f"'2026-01-31 00:00:00.{number:06}'"
            connection.execute(f"{insert} ({OWNER}, 'Task', {number % 7 == 0}, {due}, {created}, {created})")
        connection.commit()

        def explain(statement: Executable, values: Mapping[str, Any]) -> str:
            compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
            plan = f"EXPLAIN QUERY PLAN {compiled}"
            complete = {name: str(value) for name, value in {**compiled.params, **values}.items()}
            return "\n".join(line for *_, line in connection.execute(plan, complete))

        yield database, planner(database, explain)
    database.close()


def planner(database: Database, explain: Callable[[Executable, Mapping[str, Any]], str]) -> Plan:
    def plan(ask: Callable[[Caller], Awaitable[object]]) -> str:
        async def asked() -> str:
            caller = Explaining(database, explain)
            await ask(caller)
            return caller.plan

        return asyncio.run(asked())

    return plan


def page_of(status: Status, sort: Sort, after: Position | None) -> Callable[[Caller], Awaitable[object]]:
    return lambda caller: store.list_tasks(caller, OWNER, status, sort, PAGE, after)


def positions(database: Database, sort: Sort) -> list[Position | None]:
    """None, a task in the first quarter and one in the last: by due date, that one is undated."""
    rows = asyncio.run(store.list_tasks(database.caller(OWNER), OWNER, "all", sort, 10_000))
    chosen = rows[len(rows) // 4], rows[-len(rows) // 4]
    return [None, *(Position(getattr(row, KEYS[sort]), row.id) for row in chosen)]


@pytest.mark.parametrize("page", [0, 1, 2], ids=["first-page", "next-page", "late-page"])
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("sort", ["created", "title", "due_date"])
def test_postgresql_reads_each_page_from_the_index_of_its_order(
    on_postgresql: tuple[Database, Plan], sort: Sort, status: Status, page: int
) -> None:
    """Owner, order, keyset and, by creation, the filter together."""
    database, plan = on_postgresql
    by_status = sort == "created" and status != "all"
    index = "ix_tasks_user_id_completed" if by_status else f"ix_tasks_user_id_{KEYS[sort]}"

    lines = plan(page_of(status, sort, positions(database, sort)[page]))

    assert f"Index Scan using {index}" in lines
    assert "Sort" not in lines


@pytest.mark.parametrize("page", [0, 1, 2], ids=["first-page", "next-page", "late-page"])
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("sort", ["created", "due_date"])
def test_sqlite_reads_each_page_from_the_index_of_its_order(
    on_sqlite: tuple[Database, Plan], sort: Sort, status: Status, page: int
) -> None:
    """Titles it sorts itself: `lower` is the app's, and no other program could write to a table with that index."""
    database, plan = on_sqlite
    by_status = sort == "created" and status != "all"
    index = "ix_tasks_user_id_completed" if by_status else f"ix_tasks_user_id_{KEYS[sort]}"

    lines = plan(page_of(status, sort, positions(database, sort)[page]))

    assert f"USING INDEX {index}" in lines
    assert "TEMP B-TREE" not in lines


@pytest.mark.parametrize("since", TOKENS, ids=["everything", "complete", "half-way"])
@pytest.mark.parametrize("where", ["on_postgresql", "on_sqlite"])
def test_what_changed_is_read_from_the_index_of_changes(
    where: str, since: Since | None, request: pytest.FixtureRequest
) -> None:
    """In its order, and no further than the page."""
    _, plan = request.getfixturevalue(where)

    lines = plan(lambda caller: list_changes(caller, OWNER, since, PAGE))
    if where == "on_sqlite":
        assert "SEARCH tasks USING INDEX ix_tasks_user_id_updated_at (user_id=? AND updated_at>?)" in lines
        assert "SEARCH deleted_tasks USING COVERING INDEX" in lines
    else:
        # Between the limit of the tasks and the index nothing is sorted.
        (part,) = (each for each in re.split("-> +Limit ", lines) if " on tasks " in each)
        before, index, _ = part.partition("Index Scan using ix_tasks_user_id_updated_at on tasks ")
        assert index
        assert "Sort" not in before
