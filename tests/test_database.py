"""The engine against real servers: deadlines, dead connections, full queues, and the count of round trips."""

import asyncio
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import Session

import database as database_module
import store
from database import Database, DatabaseUnavailable
from settings import Settings
from tables import create_tables
from tests.conftest import RowsOf, database_name
from tests.proxy import Proxy
from tests.tokens import SECRET

T = TypeVar("T")
Connect = Callable[..., Database]


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


def query(statement: str) -> Callable[[Session], object]:
    def run(session: Session) -> object:
        return session.connection().execute(text(statement)).scalar()

    return run


def backend(session: Session) -> int:
    pid: int = session.connection().execute(text("SELECT pg_backend_pid()")).scalar_one()
    return pid


def test_answers_what_the_function_returns(connect: Connect, database_url: str) -> None:
    database = connect(database_url)

    assert asyncio.run(database.run(query("SELECT 40 + 2"))) == 42


def test_a_defect_stays_a_defect(connect: Connect, database_url: str) -> None:
    """Only what the database cannot help is `DatabaseUnavailable`."""

    def divide(_: Session) -> float:
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        asyncio.run(connect(database_url).run(divide))


def test_a_wrong_statement_is_a_defect(connect: Connect, postgres_url: str) -> None:
    with pytest.raises(ProgrammingError):
        asyncio.run(connect(postgres_url).run(query("SELECT FROM WHERE")))


def test_the_tables_are_created_once_for_many_first_calls(postgres_url: str) -> None:
    prepared = 0

    def prepare(_: object) -> None:
        nonlocal prepared
        prepared += 1
        time.sleep(0.05)

    async def calls() -> None:
        await asyncio.gather(*(database.run(store.ping) for _ in range(20)))

    database = Database(Settings(secret=SECRET, database_url=postgres_url).database, pool_size=4, prepare=prepare)
    asyncio.run(calls())
    database.close()

    assert prepared == 1


def test_there_are_as_many_connections_as_threads(connect: Connect, postgres_url: str, proxy: Proxy) -> None:
    database = connect(proxy.url(database_name(postgres_url)), pool_size=3)

    async def calls() -> list[object]:
        return await asyncio.gather(*(database.run(query("SELECT pg_sleep(0.02)")) for _ in range(30)))

    assert len(asyncio.run(calls())) == 30
    assert proxy.connections == 3


def test_a_full_queue_turns_the_next_call_away_at_once(
    connect: Connect, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "QUEUE_PER_THREAD", 4)
    database = connect(postgres_url)

    async def calls() -> list[object]:
        sleepers = [database.run(query("SELECT 'done' FROM pg_sleep(0.2)")) for _ in range(8)]
        return await asyncio.gather(*sleepers, return_exceptions=True)

    results = asyncio.run(calls())

    assert results[:5] == ["done"] * 5
    assert [str(result) for result in results[5:]] == ["too many calls wait for the database"] * 3


def test_the_deadline_frees_the_thread(connect: Connect, postgres_url: str) -> None:
    """The only thread and the only connection are at a query of a minute, and serve the next call all the same."""
    database = connect(postgres_url, deadline=0.5)

    async def calls() -> object:
        with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.5 seconds"):
            await database.run(query("SELECT pg_sleep(60)"))
        return await database.run(query("SELECT 'again'"))

    assert asyncio.run(calls()) == "again"


def test_the_deadline_frees_the_thread_when_the_server_is_frozen(connect: Connect, postgres_url: str) -> None:
    """SIGSTOP: the server process would not even read a cancel request."""
    database = connect(postgres_url, deadline=1)
    frozen = asyncio.run(database.run(backend))
    os.kill(frozen, signal.SIGSTOP)
    try:
        with pytest.raises(DatabaseUnavailable, match="no answer"):
            asyncio.run(database.run(query("SELECT 1")))
        assert asyncio.run(database.run(backend)) != frozen
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_a_network_that_drops_everything_meets_the_deadline(connect: Connect, postgres_url: str, proxy: Proxy) -> None:
    database = connect(proxy.url(database_name(postgres_url)), deadline=1, pool_size=2)
    asyncio.run(database.run(store.ping))

    async def calls() -> list[object]:
        return await asyncio.gather(*(database.run(store.ping) for _ in range(6)), return_exceptions=True)

    proxy.freeze()
    results = asyncio.run(calls())
    proxy.thaw()

    assert [type(result) for result in results] == [DatabaseUnavailable] * 6
    assert proxy.connections <= 4
    recover(database)


def recover(database: Database) -> None:
    """Wait, as callers do who are told to try again, until the database answers."""
    for _ in range(100):
        try:
            asyncio.run(database.run(store.ping))
        except DatabaseUnavailable:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the database did not recover")


def test_a_call_that_gave_up_before_its_thread_began_never_runs(connect: Connect, postgres_url: str) -> None:
    database = connect(postgres_url, deadline=0.5)
    ran: list[int] = []

    def note(_: Session) -> None:
        ran.append(1)

    async def calls() -> list[object]:
        first = database.run(query("SELECT pg_sleep(60)"))
        return await asyncio.gather(first, *(database.run(note) for _ in range(3)), return_exceptions=True)

    assert [type(result) for result in asyncio.run(calls())] == [DatabaseUnavailable] * 4
    asyncio.run(database.run(store.ping))
    assert ran == []


def test_connections_that_died_idle_are_replaced_without_an_error(
    connect: Connect, postgres_url: str, rows_of: RowsOf
) -> None:
    """As after five quiet minutes at Neon: the server closes them all."""
    database = connect(postgres_url, pool_size=5)

    async def calls() -> list[int]:
        return await asyncio.gather(*(database.run(slow_backend) for _ in range(5)))

    def slow_backend(session: Session) -> int:
        session.connection().execute(text("SELECT pg_sleep(0.05)"))
        return backend(session)

    before = set(asyncio.run(calls()))
    kill_the_others = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert rows_of(postgres_url, kill_the_others) == [(True,)] * 5
    after = set(asyncio.run(calls()))

    assert len(before) == len(after) == 5
    assert before.isdisjoint(after)


def test_a_connection_cut_at_work_is_unavailable(connect: Connect, postgres_url: str, proxy: Proxy) -> None:
    database = connect(proxy.url(database_name(postgres_url)))
    asyncio.run(database.run(store.ping))
    threading.Timer(0.2, proxy.cut).start()

    with pytest.raises(DatabaseUnavailable):
        asyncio.run(database.run(query("SELECT pg_sleep(60)")))
    assert asyncio.run(database.run(query("SELECT 1"))) == 1


def test_a_server_that_is_not_there_yet_is_used_when_it_comes(
    connect: Connect, postgres_url: str, proxy: Proxy
) -> None:
    database = connect(proxy.url(database_name(postgres_url)))
    proxy.refuse()
    with pytest.raises(DatabaseUnavailable):
        asyncio.run(database.run(store.ping))
    proxy.accept()

    assert asyncio.run(database.run(query("SELECT count(*) FROM users"))) == 0


def test_a_closed_database_opens_again(connect: Connect, database_url: str) -> None:
    database = connect(database_url)
    asyncio.run(database.run(store.ping))
    database.close()

    assert asyncio.run(database.run(query("SELECT 1"))) == 1


def test_sqlite_meets_the_deadline_too(connect: Connect, tmp_path: Path) -> None:
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    database = connect(f"sqlite:///{tmp_path}/todo.db", deadline=0.5)

    with pytest.raises(DatabaseUnavailable, match="no answer"):
        asyncio.run(database.run(query(forever)))
    assert asyncio.run(database.run(query("SELECT 1"))) == 1


def test_a_locked_sqlite_file_is_unavailable(connect: Connect, tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/todo.db", deadline=0.5)
    asyncio.run(database.run(store.ping))
    with sqlite3.connect(tmp_path / "todo.db") as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="locked"):
            asyncio.run(database.run(store.ensure_user, "ada", None, None))
    other.close()

    asyncio.run(database.run(store.ensure_user, "ada", None, None))
    assert asyncio.run(database.run(query("SELECT id FROM users"))) == "ada"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_an_in_memory_database_keeps_its_rows(connect: Connect, url: str) -> None:
    database = connect(url, pool_size=8)

    async def calls() -> object:
        await asyncio.gather(*(database.run(store.ensure_user, f"user-{n}", None, None) for n in range(20)))
        return await database.run(query("SELECT count(*) FROM users"))

    assert asyncio.run(calls()) == 20
