"""One bounded queue and one deadline, whatever the database; a defect stays a defect."""

import asyncio
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlmodel import Session

import database as database_module
import store
from database import Database, DatabaseUnavailable
from settings import Settings
from tests.conftest import database_name
from tests.engine.conftest import FOREVER, Connect, Run, backend, query, recover
from tests.proxy import Proxy
from tests.tokens import SECRET


def test_answers_what_the_function_returns(run: Run, connect: Connect, database_url: str) -> None:
    database = connect(database_url)

    assert run(database.run(query("SELECT 40 + 2"))) == 42


def test_a_defect_stays_a_defect(run: Run, connect: Connect, database_url: str) -> None:
    """Only what the database cannot help is `DatabaseUnavailable`."""

    def divide(_: Session) -> float:
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        run(connect(database_url).run(divide))


def test_a_wrong_statement_is_a_defect(run: Run, connect: Connect, database_url: str) -> None:
    # SQLite's error for whatever is wrong is the other one.
    with pytest.raises((ProgrammingError, OperationalError)):
        run(connect(database_url).run(query("SELECT FROM WHERE")))


def test_the_tables_are_created_once_for_many_first_calls(run: Run, postgres_url: str) -> None:
    prepared = 0

    def prepare(_: object) -> None:
        nonlocal prepared
        prepared += 1
        time.sleep(0.05)

    async def calls() -> None:
        await asyncio.gather(*(database.run(store.ping) for _ in range(20)))

    database = Database(Settings(secret=SECRET, database_url=postgres_url).database, pool_size=4, prepare=prepare)
    run(calls())
    database.close()

    assert prepared == 1


def test_there_are_as_many_connections_as_threads(run: Run, connect: Connect, postgres_url: str, proxy: Proxy) -> None:
    database = connect(proxy.url(database_name(postgres_url)), pool_size=3)

    async def calls() -> Any:
        return list(await asyncio.gather(*(database.run(query("SELECT pg_sleep(0.02)")) for _ in range(30))))

    assert len(run(calls())) == 30
    assert proxy.connections == 3


def test_a_full_queue_turns_the_next_call_away_at_once(
    run: Run, connect: Connect, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "QUEUE_PER_CONNECTION", 4)
    database = connect(postgres_url)

    async def calls() -> Any:
        sleepers = [database.run(query("SELECT 'done' FROM pg_sleep(0.2)")) for _ in range(8)]
        return await asyncio.gather(*sleepers, return_exceptions=True)

    results = run(calls())

    assert results[:5] == ["done"] * 5
    assert [str(result) for result in results[5:]] == ["too many calls wait for the database"] * 3


def test_the_deadline_frees_the_thread(run: Run, connect: Connect, postgres_url: str) -> None:
    """The only thread and the only connection are at a query of a minute, and serve the next call all the same."""
    database = connect(postgres_url, deadline=0.5)

    async def calls() -> object:
        with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.5 seconds"):
            await database.run(query("SELECT pg_sleep(60)"))
        return await database.run(query("SELECT 'again'"))

    assert run(calls()) == "again"


def test_the_deadline_frees_the_thread_when_the_server_is_frozen(run: Run, connect: Connect, postgres_url: str) -> None:
    """SIGSTOP: the server process would not even read a cancel request."""
    database = connect(postgres_url, deadline=1)
    frozen = run(database.run(backend))
    os.kill(frozen, signal.SIGSTOP)
    try:
        with pytest.raises(DatabaseUnavailable, match="no answer"):
            run(database.run(query("SELECT 1")))
        assert run(database.run(backend)) != frozen
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_a_network_that_drops_everything_meets_the_deadline(
    run: Run, connect: Connect, postgres_url: str, proxy: Proxy
) -> None:
    database = connect(proxy.url(database_name(postgres_url)), deadline=1, pool_size=2)
    run(database.run(store.ping))

    async def calls() -> Any:
        return await asyncio.gather(*(database.run(store.ping) for _ in range(6)), return_exceptions=True)

    proxy.freeze()
    results = run(calls())
    proxy.thaw()

    assert [type(result) for result in results] == [DatabaseUnavailable] * 6
    assert proxy.connections <= 4
    recover(run, database)


def test_a_call_that_gave_up_before_its_turn_never_runs(run: Run, connect: Connect, database_url: str) -> None:
    database = connect(database_url, deadline=0.5)
    ran: list[int] = []

    def note(_: Session) -> None:
        ran.append(1)

    hold = query(FOREVER if "sqlite" in database_url else "SELECT pg_sleep(60)")

    async def calls() -> Any:
        first = database.run(hold)
        others = [asyncio.wait_for(database.run(note), 0.2) for _ in range(3)]
        return await asyncio.gather(first, *others, return_exceptions=True)

    assert [type(result) for result in run(calls())] == [DatabaseUnavailable] + [TimeoutError] * 3
    run(database.run(store.ping))
    assert ran == []


def test_a_closed_database_opens_again(run: Run, connect: Connect, database_url: str) -> None:
    database = connect(database_url)
    run(database.run(store.ping))
    database.close()

    assert run(database.run(query("SELECT 1"))) == 1


def test_sqlite_meets_the_deadline_too(run: Run, connect: Connect, tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/todo.db", deadline=0.5)

    with pytest.raises(DatabaseUnavailable, match="no answer"):
        run(database.run(query(FOREVER)))
    assert run(database.run(query("SELECT 1"))) == 1


def test_a_locked_sqlite_file_is_unavailable(run: Run, connect: Connect, tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/todo.db", deadline=0.5)
    run(database.run(store.ping))
    with sqlite3.connect(tmp_path / "todo.db") as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="locked"):
            run(database.run(store.ensure_user, "ada", None, None))
    other.close()

    run(database.run(store.ensure_user, "ada", None, None))
    assert run(database.run(query("SELECT id FROM users"))) == "ada"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_an_in_memory_database_keeps_its_rows(run: Run, connect: Connect, url: str) -> None:
    database = connect(url, pool_size=8)

    async def calls() -> object:
        await asyncio.gather(*(database.run(store.ensure_user, f"user-{n}", None, None) for n in range(20)))
        return await database.run(query("SELECT count(*) FROM users"))

    assert run(calls()) == 20
