"""What the planners make of the indexes."""

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Dialect, Executable
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

import store
from database import Caller, Database
from layout import prepare
from paging import Position, Sort, Status
from settings import Settings
from tests.servers import Postgres
from tests.tokens import SECRET

FILL = """
INSERT INTO users (id) SELECT n::text FROM generate_series(1, 10) n;
INSERT INTO tasks (user_id, title, completed, due_date, created_at, updated_at)
    SELECT (n % 10 + 1)::text, md5(n::text), n % 7 = 0, CASE WHEN n % 2 = 0 THEN date '2026-01-01' + n % 365 END,
        now() - n * interval '1 s', now()
    FROM generate_series(1, 40000) n;
ANALYZE;
"""
INDEXES = {
    "created": {"all": "created_at", "pending": "completed", "completed": "completed"},
    "title": dict.fromkeys(["all", "pending", "completed"], "title"),
    "due_date": dict.fromkeys(["all", "pending", "completed"], "due_date"),
}


class Heard(Caller):
    """Keeps what it is asked instead of asking."""

    def __init__(self) -> None:
        self.statement: Any = None
        self.values: Mapping[str, Any] = {}

    async def execute(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Any:
        self.statement, self.values = statement, values or {}
        return []

    def sql(self, dialect: Dialect) -> str:
        return str(self.statement.compile(dialect=dialect))


def heard(status: Status, sort: Sort, after: Position | None) -> Heard:
    caller = Heard()
    asyncio.run(store.list_tasks(caller, "7", status, sort, 20, after))
    return caller


def create_tables(url: str) -> None:
    database = Database(Settings(secret=SECRET, database_url=url).database, pool_size=1, prepare=prepare)
    asyncio.run(database.ready())
    database.close()


@pytest.fixture(scope="module")
def filled(postgres: Postgres) -> Any:
    """The address of a database with 4,000 tasks of each of 10 people."""
    name = postgres.create_database()
    create_tables(postgres.url(name))
    postgres.execute(name, FILL)
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.mark.parametrize("sort", ["created", "title", "due_date"])
@pytest.mark.parametrize("status", ["all", "pending", "completed"])
@pytest.mark.parametrize("after", [False, True], ids=["first-page", "next-page"])
def test_postgresql_reads_a_page_from_an_index_in_its_order(
    filled: str, status: Status, sort: Sort, after: bool
) -> None:
    """Owner, order and keyset together, without a sort."""
    with closing(psycopg2.connect(filled)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT created_at, title, due_date FROM tasks WHERE user_id = '7' AND due_date IS NOT NULL LIMIT 1"
        )
        keys = dict(zip(INDEXES, cursor.fetchone() or (), strict=True))
        asked = heard(status, sort, Position(keys[sort], 1) if after else None)
        cursor.execute(f"EXPLAIN {asked.sql(PGDialect_psycopg2())}", asked.values)  # type: ignore[no-untyped-call]
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert f"Index Scan using ix_tasks_user_id_{INDEXES[sort][status]}" in plan
    assert "Sort" not in plan


@pytest.mark.parametrize("sort", ["created", "due_date"])
@pytest.mark.parametrize("after", [False, True], ids=["first-page", "next-page"])
def test_sqlite_reads_a_page_from_an_index_in_its_order(tmp_path: Path, sort: Sort, after: bool) -> None:
    """But by title: an index on the app's own `lower` would keep every other program from writing to the table."""
    database = Database(
        Settings(secret=SECRET, database_url=f"sqlite:///{tmp_path}/todo.db").database, pool_size=1, prepare=prepare
    )
    asyncio.run(database.ready())
    database.close()
    asked = heard("all", sort, Position("2026-01-01", 1) if after else None)
    sql = asked.sql(SQLiteDialect_pysqlite(paramstyle="named"))
    with closing(sqlite3.connect(tmp_path / "todo.db")) as connection:
        plan = "\n".join(
            row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", {**asked.values, "param_1": 0})
        )

    assert f"USING INDEX ix_tasks_user_id_{INDEXES[sort]['all']}" in plan
    assert "TEMP B-TREE" not in plan
