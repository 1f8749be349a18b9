"""The engine against real servers: deadlines, dead connections, full queues, and the count of round trips."""

import asyncio
import gc
import os
import signal
import socket
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlmodel import Session

import database as database_module
import store
from database import Database, DatabaseUnavailable, _postgresql
from pool import Connection, Pool
from settings import Settings
from tables import create_tables
from tests.conftest import RowsOf, database_name
from tests.faults.load import until
from tests.proxy import Proxy
from tests.servers import Postgres
from tests.tokens import SECRET
from threads import _Call

# The end of every answer (PostgreSQL, "Message Formats"), outside of a transaction.
READY_FOR_QUERY = b"Z\0\0\0\x05I"
FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
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


class Thing:
    """What a store function may give."""


class Defect(Exception):
    """What it may raise."""


def query(statement: str) -> Callable[[Session], Any]:
    def run(session: Session) -> Any:
        return session.exec(text(statement), params={}).one()[0]  # type: ignore[call-overload]

    return run


def backend(session: Session) -> int:
    return int(query("SELECT pg_backend_pid()")(session))


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


def test_connections_that_died_idle_are_replaced_without_an_error(
    run: Run, connect: Connect, postgres_url: str, rows_of: RowsOf
) -> None:
    """As after five quiet minutes at Neon: the server closes them all."""
    database = connect(postgres_url, pool_size=5)

    async def calls() -> list[int]:
        return await asyncio.gather(*(database.run(slow_backend) for _ in range(5)))

    def slow_backend(session: Session) -> int:
        query("SELECT pg_sleep(0.05)")(session)
        return backend(session)

    before = set(run(calls()))
    kill_the_others = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert rows_of(postgres_url, kill_the_others) == [(True,)] * 5
    after = set(run(calls()))

    assert len(before) == len(after) == 5
    assert before.isdisjoint(after)


def test_a_connection_cut_at_work_is_unavailable(run: Run, connect: Connect, postgres_url: str, proxy: Proxy) -> None:
    database = connect(proxy.url(database_name(postgres_url)))
    run(database.run(store.ping))
    threading.Timer(0.2, proxy.cut).start()

    with pytest.raises(DatabaseUnavailable):
        run(database.run(query("SELECT pg_sleep(60)")))
    assert run(database.run(query("SELECT 1"))) == 1


class Dying:
    """A store function that is at a query when its connection dies, as often as `times` says; then it answers."""

    def __init__(self, proxy: Proxy, times: int, *, writes: bool = False) -> None:
        self.proxy, self.times, self.writes = proxy, times, writes
        self.calls = 0

    def __call__(self, session: Session) -> Any:
        self.calls += 1
        if self.writes:
            session.exec(text("CREATE TEMPORARY TABLE scratch ()"), params={})  # type: ignore[call-overload]
        if self.calls <= self.times:
            threading.Timer(0.2, self.proxy.cut).start()
            session.exec(select(func.pg_sleep(60)), params={})  # type: ignore[call-overload]
        return session.exec(select(1), params={}).one()[0]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("times", "writes", "calls", "answer"),
    [(1, False, 2, 1), (2, False, 2, None), (1, True, 1, None)],
    ids=["a read, once", "a read, twice", "after a write"],
)
def test_only_reads_on_a_connection_that_dies_are_run_again(
    run: Run, connect: Connect, postgres_url: str, proxy: Proxy, times: int, writes: bool, calls: int, answer: int
) -> None:
    database = connect(proxy.url(database_name(postgres_url)))
    run(database.run(store.ping))
    function = Dying(proxy, times, writes=writes)

    if answer is None:
        with pytest.raises(DatabaseUnavailable):
            run(database.run(function))
    else:
        assert run(database.run(function)) == answer
    assert function.calls == calls
    # The place of the dead connection is free again.
    assert run(database.run(query("SELECT 1"))) == 1


def test_a_read_whose_server_is_gone_is_unavailable(
    run: Run, connect: Connect, postgres_url: str, proxy: Proxy
) -> None:
    database = connect(proxy.url(database_name(postgres_url)))
    run(database.run(store.ping))
    proxy.refuse()
    with pytest.raises(DatabaseUnavailable):
        run(database.run(Dying(proxy, 1)))
    proxy.accept()
    assert run(database.run(query("SELECT 1"))) == 1


def test_a_server_that_may_only_be_read_is_unavailable(
    run: Run, connect: Connect, postgres_url: str, rows_of: RowsOf
) -> None:
    """So it is on a replica that has not been promoted yet."""
    run(connect(postgres_url).run(store.ping))
    rows_of(postgres_url, f"ALTER DATABASE {database_name(postgres_url)} SET default_transaction_read_only = on")
    database = connect(postgres_url)

    with pytest.raises(DatabaseUnavailable):
        run(database.run(store.ensure_user, "ada", None, None))


def test_a_server_that_is_not_there_yet_is_used_when_it_comes(
    run: Run, connect: Connect, postgres_url: str, proxy: Proxy
) -> None:
    database = connect(proxy.url(database_name(postgres_url)))
    proxy.refuse()
    with pytest.raises(DatabaseUnavailable):
        run(database.run(store.ping))
    proxy.accept()

    assert run(database.run(query("SELECT count(*) FROM users"))) == 0


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


def test_what_is_larger_than_any_buffer_arrives_and_comes_back(connect: Connect, postgres_url: str, run: Run) -> None:
    """The socket takes it in pieces, and the event loop goes on meanwhile."""
    database = connect(postgres_url)
    large = text("SELECT CAST(:large AS text)")

    def measure(session: Session) -> Any:
        return len(session.exec(large, params={"large": "x" * 50_000_000}).one()[0])  # type: ignore[call-overload]

    assert run(database.run(measure)) == 50_000_000


def test_all_that_has_arrived_is_read_at_once(postgres: Postgres, run: Run) -> None:
    """libpq reads 16 KiB at first, and an event loop may not say again that there is more."""

    async def turn() -> str:
        connection = await Connection.open({"dsn": postgres.url("postgres")})
        asking = asyncio.create_task(connection.execute("SELECT repeat('x', 40000)", {}))
        await asyncio.sleep(0)
        while not unread(connection).endswith(READY_FOR_QUERY):
            pass
        connection._advance()
        assert connection._waiter is not None
        assert connection._waiter.done()
        answer: str = (await asking).fetchone()[0]
        connection.close()
        return answer

    assert run(turn()) == "x" * 40_000


def unread(connection: Connection) -> bytes:
    """What has arrived from the server and was not received."""
    with socket.socket(fileno=os.dup(connection._socket)) as duplicate, suppress(BlockingIOError):
        return duplicate.recv(100_000, socket.MSG_PEEK)
    return b""


def test_a_host_is_looked_up_and_one_that_is_nowhere_is_unavailable(
    connect: Connect, postgres_url: str, run: Run
) -> None:
    assert run(connect(postgres_url.replace("127.0.0.1", "localhost")).run(query("SELECT 1"))) == 1
    with pytest.raises(OperationalError, match="could not find the host"):
        run(Pool({"host": "nowhere.invalid"}, 1).take())


def test_a_frozen_server_does_not_hold_the_creation_of_tables(
    connect: Connect, postgres_url: str, proxy: Proxy, run: Run
) -> None:
    """It freezes when the connection stands and the first statement is on its way."""
    database = connect(proxy.url(database_name(postgres_url)), deadline=1)
    create = database._prepare

    def freeze(connection: Any) -> None:
        proxy.freeze()
        create(connection)

    database._prepare = freeze
    with pytest.raises(DatabaseUnavailable, match="no answer"):
        run(database.run(store.ping))
    database._prepare = create
    proxy.thaw()
    recover(run, database)


def test_a_server_that_freezes_after_the_log_in_does_not_hold_the_creation_of_tables(
    connect: Connect, postgres_url: str, proxy: Proxy, run: Run
) -> None:
    """SQLAlchemy has questions then, before it hands the connection out."""
    database = connect(proxy.url(database_name(postgres_url)), deadline=1)
    faults = [proxy.freeze]
    event.listen(database.threads.engine, "first_connect", lambda *_: faults and faults.pop()(), insert=True)

    with pytest.raises(DatabaseUnavailable, match="no answer"):
        run(database.run(store.ping))
    closer = threading.Thread(target=database.threads.close, daemon=True)
    closer.start()
    closer.join(10)
    freed = not closer.is_alive()
    proxy.thaw()
    recover(run, database)
    assert freed


def test_a_connection_made_for_nobody_is_closed(postgres_url: str) -> None:
    """Whoever asked gave up while the server was asked for it."""
    engine = _postgresql(Settings(secret=SECRET, database_url=postgres_url).database, 5)
    engine._current.call.expire()

    with pytest.raises(CancelledError) as raised:
        engine.engine.connect()
    assert raised.traceback[-2].locals["connection"].closed
    engine.close()


def test_who_gives_up_on_a_connection_that_is_closed_already(postgres: Postgres) -> None:
    call = _Call()
    with closing(psycopg2.connect(postgres.url("postgres"))) as connection:
        call.hold(connection)

    call.expire()


def test_all_addresses_of_a_host_are_tried(
    connect: Connect, postgres_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`localhost` is often ::1 first, where nobody may listen."""
    of_one = socket.getaddrinfo("127.0.0.1", None, type=socket.SOCK_STREAM)
    of_none = socket.getaddrinfo("127.0.0.2", None, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: of_none + of_one)

    assert run(connect(postgres_url.replace("127.0.0.1", "localhost")).run(query("SELECT 1"))) == 1


def test_the_server_ends_queries_that_were_given_up(
    connect: Connect, postgres: Postgres, postgres_url: str, run: Run
) -> None:
    """They would wait for the lock on connections that nobody counts any more."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    database = connect(postgres_url, deadline=0.5, pool_size=2)
    run(database.run(store.ping))
    with closing(psycopg2.connect(postgres_url)) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailable):
            run(database.run(store.get_task, "ada", 1))
        run(until(lambda: postgres.execute("postgres", waiting, [database_name(postgres_url)]) == [(0,)]))


def test_options_of_the_url_are_kept(connect: Connect, postgres_url: str, run: Run) -> None:
    database = connect(f"{postgres_url}?options=-c%20statement_timeout%3D3210")

    assert run(database.run(query("SHOW statement_timeout"))) == "3210ms"
    assert run(database.run(query("SHOW client_connection_check_interval"))) == "2s"


def test_text_is_unicode_whatever_the_encoding_of_the_database(
    connect: Connect, postgres: Postgres, postgres_url: str, run: Run
) -> None:
    name = database_name(postgres_url)
    ascii_name = f"{name}_ascii"
    postgres.execute("postgres", f"CREATE DATABASE {ascii_name} ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0")
    database = connect(postgres_url.replace(name, ascii_name))
    values = {"title": "日本 é", "description": None, "completed": False, "due_date": None}

    run(database.run(store.ensure_user, "é", None, "Ünï"))
    assert run(database.run(store.create_task, "é", values)).title == "日本 é"
    database.close()
    postgres.execute("postgres", f"DROP DATABASE {ascii_name}")


def test_a_loop_that_ended_may_be_dealt_with_by_another_thread(connect: Connect, postgres_url: str, run: Run) -> None:
    database = connect(postgres_url)
    pools: dict[Any, Any] = database._engine._pools  # type: ignore[union-attr]

    class Ended:
        def is_closed(self) -> bool:
            del pools[self]
            return True

    pools[Ended()] = None
    run(database.run(store.ping))


def test_the_connections_of_a_loop_that_ended_are_closed(connect: Connect, postgres_url: str, proxy: Proxy) -> None:
    """A `TestClient` without a lifespan has an event loop for each request."""
    database = connect(proxy.url(database_name(postgres_url)), pool_size=4)
    for _ in range(10):
        asyncio.run(database.run(store.ping))

    # The proxy hears of an end a little later.
    asyncio.run(until(lambda: proxy.connections == 1))


@pytest.mark.parametrize("end", ["idle", "at work", "given up", "a defect", "closed"])
def test_nothing_is_kept_of_a_connection_that_is_no_more(
    run: Run, connect: Connect, postgres: Postgres, postgres_url: str, end: str
) -> None:
    database = connect(postgres_url, deadline=1)
    kept: list[weakref.ref[Any]] = []

    def work(session: Session) -> Thing:
        kept.append(weakref.ref(session._connection))  # type: ignore[attr-defined]
        thing = Thing()
        kept.append(weakref.ref(thing))
        if end == "at work":
            query("SELECT pg_terminate_backend(pg_backend_pid())")(session)
        elif end == "given up":
            query("SELECT pg_sleep(3)")(session)
        elif end == "a defect":
            raise Defect(thing)
        return thing

    with suppress(DatabaseUnavailable, Defect):
        run(database.run(work))
    if end == "idle":
        postgres.execute("postgres", KILL, [database_name(postgres_url)])
        run(database.run(store.ping))
    database.close()

    gc.collect()
    assert [reference() for reference in kept] == [None] * len(kept) != []


@pytest.mark.parametrize("broken", [False, True], ids=["a-connection", "room-for-one"])
def test_who_is_given_something_and_leaves_passes_it_on(postgres: Postgres, run: Run, broken: bool) -> None:
    """Given and cancelled in the same turn of the event loop."""

    async def turn() -> bool:
        pool = Pool({"dsn": postgres.url("postgres")}, 1)
        first = await pool.take()
        second, third = asyncio.create_task(pool.take()), asyncio.create_task(pool.take())
        await asyncio.sleep(0)
        if broken:
            first.close()
        pool.give_back(first)
        second.cancel()
        given = await third
        pool.give_back(given)
        pool.close()
        return given is first

    assert run(turn()) is not broken


def test_who_left_while_waiting_is_passed_over(postgres: Postgres, run: Run) -> None:
    async def turn() -> bool:
        pool = Pool({"dsn": postgres.url("postgres")}, 1)
        first = await pool.take()
        second, third = asyncio.create_task(pool.take()), asyncio.create_task(pool.take())
        await asyncio.sleep(0)
        second.cancel()
        pool.give_back(first)
        given = await third
        pool.give_back(given)
        pool.close()
        return given is first

    assert run(turn())


def test_a_thread_that_comes_too_late_does_not_begin(connect: Connect, tmp_path: Path) -> None:
    call = _Call()
    call.expire()
    database = connect(f"sqlite:///{tmp_path}/todo.db")

    with database.threads.engine.connect() as connection, pytest.raises(CancelledError), call.holding(connection):
        pytest.fail("it has begun")
