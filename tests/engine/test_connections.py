"""Connections to PostgreSQL: how they come about, what goes over them, and what follows when they die."""

import asyncio
import os
import socket
import threading
from contextlib import closing, suppress
from typing import Any

import psycopg2
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

import store
from database import DatabaseUnavailable
from pool import Connection, Pool
from tests.conftest import RowsOf, database_name
from tests.engine.conftest import Connect, Run, backend, query
from tests.faults.load import until
from tests.proxy import Proxy
from tests.servers import Postgres

# The end of every answer (PostgreSQL, "Message Formats"), outside of a transaction.
READY_FOR_QUERY = b"Z\0\0\0\x05I"


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
