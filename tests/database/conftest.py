"""Databases as the app makes them, in one event loop."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from sqlalchemy import TextualSelect, column, text

from database import Database, DatabaseUnavailable
from migrations.layout import prepare
from settings import Settings
from tests.support.tokens import SECRET

FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
BACKEND = "SELECT pg_backend_pid()"
Connect = Callable[..., Database]
Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def run() -> Iterator[Run]:
    """One event loop for the test, as a server has one for life."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make databases as the app does, and close them in the end."""
    made: list[Database] = []

    def make(url: str, **options: Any) -> Database:
        settings = Settings(secret=SECRET, database_url=url)
        made.append(Database(settings.database, **{"pool_size": 1, "prepare": prepare, **options}))
        return made[-1]

    yield make
    for database in made:
        database.close()


def query(sql: str) -> TextualSelect:
    """A statement that only reads."""
    return text(sql).columns(column("value"))


async def ask(database: Database, sql: str, person: str = "ada") -> Any:
    """The first value of the first row."""
    return (await database.caller(person).execute(query(sql)))[0][0]


async def write(database: Database, sql: str, person: str = "ada") -> None:
    """Execute what does more than read."""
    await database.caller(person).execute(text(sql))


def recover(run: Run, database: Database) -> None:
    """Wait, as callers do who are told to try again, until the database answers."""
    for _ in range(100):
        try:
            run(ask(database, "SELECT 1"))
        except DatabaseUnavailable:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the database did not recover")
