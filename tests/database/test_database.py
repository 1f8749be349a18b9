"""One deadline for all statements of a caller, whatever the database; a defect stays a defect."""

import asyncio
import gc
import os
import signal
import sqlite3
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from database import Database, DatabaseError, DatabaseUnavailable, Engine
from queries import accounts
from settings import Settings
from tests.conftest import Rows, database_name
from tests.database.conftest import BACKEND, FOREVER, Connect, Run, ask, query, recover, write
from tests.support.proxy import Proxy
from tests.support.tokens import SECRET
from tests.support.waiting import until


def test_execute_returns_the_rows(run: Run, connect: Connect, database_url: str) -> None:
    assert run(ask(connect(database_url), "SELECT 40 + 2")) == 42


def test_a_wrong_statement_is_a_defect(run: Run, connect: Connect, database_url: str) -> None:
    """Only what the database cannot help is `DatabaseUnavailable`."""
    with pytest.raises(DatabaseError, match="syntax error"):
        run(ask(connect(database_url), "SELECT FROM WHERE"))


def test_the_tables_are_prepared_once_for_many_first_calls(run: Run, connect: Connect, database_url: str) -> None:
    prepared = 0

    async def prepare(_: Engine, __: float) -> str:
        nonlocal prepared
        prepared += 1
        await asyncio.sleep(0)
        return "as expected"

    async def calls() -> None:
        await asyncio.gather(*(ask(database, "SELECT 1", f"person {number}") for number in range(20)))

    database = connect(database_url, pool_size=4, prepare=prepare)
    run(calls())

    assert prepared == 1
    assert database.caller("ada").layout == "as expected"


def test_there_are_as_many_connections_as_places(run: Run, connect: Connect, postgres_url: str, proxy: Proxy) -> None:
    database = connect(proxy.url(database_name(postgres_url)), pool_size=3)

    async def calls() -> Any:
        return await asyncio.gather(*(ask(database, "SELECT 1 FROM pg_sleep(0.02)", str(n)) for n in range(30)))

    assert run(calls()) == [1] * 30
    assert proxy.connections == 3


def test_a_full_queue_turns_away_whoever_fills_it(run: Run, connect: Connect, postgres_url: str) -> None:
    database = connect(postgres_url)

    async def calls() -> Any:
        burst = [asyncio.create_task(ask(database, "SELECT 'done' FROM pg_sleep(0.001)")) for _ in range(200)]
        await asyncio.sleep(0)
        other = await ask(database, "SELECT 'let in'", "bob")
        return other, await asyncio.gather(*burst, return_exceptions=True)

    run(ask(database, "SELECT 1"))
    other, burst = run(calls())

    assert other == "let in"
    assert {str(answer) for answer in burst} == {"done", "too many calls wait for the database"}


def test_the_deadline_frees_the_connection(run: Run, connect: Connect, postgres_url: str) -> None:
    """The only one is at a query of a minute, and the next call is served all the same."""
    database = connect(postgres_url, deadline=0.5)

    async def calls() -> object:
        with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.5 seconds"):
            await ask(database, "SELECT pg_sleep(60)")
        return await ask(database, "SELECT 'again'")

    assert run(calls()) == "again"


def test_all_statements_of_a_caller_have_one_deadline(run: Run, connect: Connect, database_url: str) -> None:
    """Whatever else takes time between two of them does not count."""
    sqlite = "sqlite" in database_url
    slow = FOREVER.replace("FROM n)", "FROM n LIMIT 300000)") if sqlite else "SELECT pg_sleep(0.4)"
    database = connect(database_url, deadline=0.8)

    async def statements() -> int:
        caller = database.caller("ada")
        for count in range(100):
            await asyncio.sleep(0.1)
            try:
                await caller.execute(query(slow))
            except DatabaseUnavailable:
                return count
        return 100

    run(ask(database, "SELECT 1"))
    # More than one fits into it, and a deadline for each would let all of them pass.
    assert 1 <= run(statements()) < 100


def test_the_deadline_frees_the_connection_when_the_server_is_frozen(
    run: Run, connect: Connect, postgres_url: str
) -> None:
    """SIGSTOP: the server process would not even read a cancel request."""
    database = connect(postgres_url, deadline=1)
    frozen = run(ask(database, BACKEND))
    os.kill(frozen, signal.SIGSTOP)
    try:
        with pytest.raises(DatabaseUnavailable, match="no answer"):
            run(ask(database, "SELECT 1"))
        assert run(ask(database, BACKEND)) != frozen
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_a_network_that_drops_everything_meets_the_deadline(
    run: Run, connect: Connect, postgres_url: str, proxy: Proxy
) -> None:
    database = connect(proxy.url(database_name(postgres_url)), deadline=1, pool_size=2)
    run(ask(database, "SELECT 1"))

    async def calls() -> Any:
        return await asyncio.gather(*(ask(database, "SELECT 1", str(n)) for n in range(6)), return_exceptions=True)

    proxy.freeze()
    results = run(calls())
    proxy.thaw()

    assert [type(result) for result in results] == [DatabaseUnavailable] * 6
    # The idle one, and at most one for each call; which of them comes before its deadline is a matter of time.
    assert proxy.connections <= 1 + len(results)
    recover(run, database)


def test_a_call_that_gave_up_before_its_turn_never_runs(
    run: Run, connect: Connect, database_url: str, rows: Rows
) -> None:
    database = connect(database_url, deadline=0.5)
    sqlite = "sqlite" in database_url

    async def calls() -> Any:
        first = write(database, FOREVER if sqlite else "SELECT pg_sleep(60)")
        others = [asyncio.wait_for(write(database, "INSERT INTO users (id) VALUES ('ada')"), 0.2) for _ in range(3)]
        return await asyncio.gather(first, *others, return_exceptions=True)

    run(ask(database, "SELECT 1"))
    assert [type(result) for result in run(calls())] == [DatabaseUnavailable] + [TimeoutError] * 3
    run(write(database, "UPDATE users SET name = 'nobody'"))
    assert rows("SELECT id FROM users") == []


@pytest.mark.parametrize("memory", [False, True], ids=["stored", "in-memory"])
def test_a_closed_database_opens_again(run: Run, connect: Connect, database_url: str, memory: bool) -> None:
    """One in memory is a new one then, and gets its tables."""
    database = connect("sqlite://" if memory else database_url)
    run(accounts.ensure_user(database.caller("ada"), "ada", None, None))
    database.close()

    assert run(ask(database, "SELECT count(*) FROM users")) == (0 if memory else 1)


def test_sqlite_meets_the_deadline_too(run: Run, connect: Connect, tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/todo.db", deadline=0.5)

    with pytest.raises(DatabaseUnavailable, match="no answer"):
        run(ask(database, FOREVER))
    assert run(ask(database, "SELECT 1")) == 1


def test_a_locked_sqlite_file_is_unavailable_to_writers_alone(run: Run, connect: Connect, tmp_path: Path) -> None:
    """Twelve of them wait for somebody else's lock, more than there are threads, and reads go on."""
    database = connect(f"sqlite:///{tmp_path}/todo.db", pool_size=4, deadline=1.0)

    async def reads_among_writers() -> Any:
        people = [f"person {number}" for number in range(12)]
        writers = [
            asyncio.create_task(accounts.ensure_user(database.caller(name), name, None, None)) for name in people
        ]
        reads = [await ask(database, "SELECT count(*) FROM users", name) for name in people]
        waiting = sum(not writer.done() for writer in writers)
        return reads, waiting, await asyncio.gather(*writers, return_exceptions=True)

    run(ask(database, "SELECT 1"))
    with closing(sqlite3.connect(tmp_path / "todo.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        reads, waiting, writers = run(reads_among_writers())

    assert (reads, waiting) == ([0] * 12, 12)
    assert {type(writer) for writer in writers} == {DatabaseUnavailable}
    run(accounts.ensure_user(database.caller("ada"), "ada", None, None))
    assert run(ask(database, "SELECT id FROM users")) == "ada"


def test_a_file_that_another_program_locks_before_wal_mode_is_used_afterwards(
    run: Run, connect: Connect, tmp_path: Path
) -> None:
    """There SQLite refuses at once, so that connections opened at the same moment would refuse each other."""
    database = connect(f"sqlite:///{tmp_path}/todo.db", deadline=0.5)

    with closing(sqlite3.connect(tmp_path / "todo.db")) as other:
        other.execute("CREATE TABLE unrelated (id)")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable):
            run(ask(database, "SELECT 1"))

    assert run(ask(database, "SELECT 1")) == 1


def test_a_write_that_is_given_up_while_its_connection_is_opened_never_runs(
    run: Run, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, given_up = threading.Event(), threading.Event()
    really_connect = sqlite3.connect

    def slowly_connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opening.set()
        given_up.wait(10)
        connection: sqlite3.Connection = really_connect(*arguments, **options)
        return connection

    monkeypatch.setattr("sqlite3.connect", slowly_connect)
    database = connect(f"sqlite:///{tmp_path}/todo.db", prepare=_nothing)

    async def give_up() -> None:
        writing = asyncio.create_task(write(database, "CREATE TABLE written (id)"))
        await until(opening.is_set)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        given_up.set()

    run(give_up())
    run(write(database, "CREATE TABLE last (id)"))
    assert run(ask(database, "SELECT group_concat(name) FROM sqlite_master")) == "last"


def test_a_file_that_is_no_database_is_unavailable(run: Run, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "todo.db").write_text("Dear diary, " * 1000)

    with pytest.raises(DatabaseUnavailable, match="file is not a database"):
        run(ask(connect(f"sqlite:///{tmp_path}/todo.db"), "SELECT 1"))


def test_a_database_is_closed_for_the_event_loops_of_other_threads_by_themselves(
    connect: Connect, database_url: str
) -> None:
    """Only they may touch what is theirs; it goes on there."""
    database = connect(database_url, pool_size=2)
    closed = threading.Event()

    async def elsewhere() -> int:
        first = await ask(database, "SELECT 1")
        asyncio.get_running_loop().call_soon(started.set)
        while not closed.is_set():
            await asyncio.sleep(0.01)
        return int(first) + int(await ask(database, "SELECT 2"))

    started = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        other = thread.submit(lambda: asyncio.run(elsewhere()))
        started.wait(30)
        database.close()
        closed.set()
        assert other.result(30) == 3


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_an_in_memory_database_keeps_its_rows(run: Run, connect: Connect, url: str) -> None:
    database = connect(url, pool_size=8)

    async def calls() -> object:
        people = [f"user-{number}" for number in range(20)]
        await asyncio.gather(*(accounts.ensure_user(database.caller(name), name, None, None) for name in people))
        return await ask(database, "SELECT count(*) FROM users")

    assert run(calls()) == 20


@pytest.mark.parametrize("closed", [False, True], ids=["never-closed", "closed"])
def test_a_discarded_database_is_garbage_collected(run: Run, database_url: str, closed: bool) -> None:
    """As with a `TestClient` without a lifespan, which makes an event loop for each request and closes nothing."""
    before = set(threading.enumerate())
    files = len(os.listdir("/proc/self/fd"))
    kept = []
    for _ in range(5):
        settings = Settings(secret=SECRET, database_url=database_url)
        database = Database(settings.database, pool_size=2, prepare=_nothing)
        asyncio.run(ask(database, "SELECT 1"))
        asyncio.run(ask(database, "SELECT 1"))
        kept.append(weakref.ref(database))
        if closed:
            database.close()
    del database

    def is_gone() -> bool:
        gc.collect()
        threads = [each for each in threading.enumerate() if each not in before and "sqlite" in each.name]
        return not threads and len(os.listdir("/proc/self/fd")) <= files

    run(until(is_gone))
    assert [reference() for reference in kept] == [None] * 5


async def _nothing(_: Engine, __: float) -> str:
    return ""
