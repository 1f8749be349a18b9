"""Databases as the app makes them, in one event loop."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session

import store
from database import Database, DatabaseUnavailable
from settings import Settings
from tables import create_tables
from tests.tokens import SECRET

FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
Connect = Callable[..., Database]
Run = Callable[..., Any]


@pytest.fixture
def run() -> Iterator[Run]:
    """One event loop for the test, as a server has one for life."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make databases as the app does, and close them in the end."""
    made: list[Database] = []

    def make(url: str, *, pool_size: int = 1, deadline: float = 5.0) -> Database:
        settings = Settings(secret=SECRET, database_url=url)
        made.append(Database(settings.database, pool_size=pool_size, prepare=create_tables, deadline=deadline))
        return made[-1]

    yield make
    for database in made:
        database.close()


def query(statement: str) -> Callable[[Session], Any]:
    def run(session: Session) -> Any:
        return session.exec(text(statement), params={}).one()[0]  # type: ignore[call-overload]

    return run


def backend(session: Session) -> int:
    return int(query("SELECT pg_backend_pid()")(session))


def recover(run: Run, database: Database) -> None:
    """Wait, as callers do who are told to try again, until the database answers."""
    for _ in range(100):
        try:
            run(database.run(store.ping))
        except DatabaseUnavailable:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the database did not recover")
