"""Connections to PostgreSQL: how they come about, what goes over them, and what follows when they die."""

import asyncio
import socket
import threading
from contextlib import closing, suppress
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg2
import pytest
from sqlalchemy import text

import store
from database import Database, DatabaseError, DatabaseUnavailable, InvalidData
from database.connection import Connection
from queries import accounts
from tests.conftest import RowsOf, database_name
from tests.database.conftest import Connect, Run, ask, write
from tests.support.proxy import Proxy
from tests.support.servers import Postgres
from tests.support.waiting import until

# The end of every answer (PostgreSQL, "Message Formats"), outside of a transaction.
READY_FOR_QUERY = b"Z\0\0\0\x05I"
KILL_THE_OTHERS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def backends(database: Database, count: int) -> set[int]:
    """The server's processes behind so many connections at once."""
    slow = "SELECT pg_backend_pid() FROM pg_sleep(0.05)"
    return set(await asyncio.gather(*(ask(database, slow, f"person {number}") for number in range(count))))


def test_connections_that_died_idle_are_replaced_without_an_error(
    run: Run, connect: Connect, postgres_url: str, rows_of: RowsOf
) -> None:
    """As after five quiet minutes at Neon: the server closes them all."""
    database = connect(postgres_url, pool_size=5)
    before = run(backends(database, 5))
    assert rows_of(postgres_url, KILL_THE_OTHERS) == [(True,)] * 5
    after = run(backends(database, 5))

    assert len(before) == len(after) == 5
    assert before.isdisjoint(after)


def test_a_connection_cut_at_work_is_unavailable(run: Run, connect: Connect, postgres_url: str, proxy: Proxy) -> None:
    database = connect(proxy.url(database_name(postgres_url)))
    run(ask(database, "SELECT 1"))
    threading.Timer(0.2, proxy.cut).start()

    with pytest.raises(DatabaseUnavailable):
        run(write(database, "SELECT pg_sleep(60)"))
    assert run(ask(database, "SELECT 1")) == 1


@pytest.fixture
def dying(connect: Connect, postgres: Postgres, postgres_url: str) -> Database:
    """A database in which reading `fatal` ends the connection, as often as `deaths` says, and then gives 1."""
    name = database_name(postgres_url)
    postgres.execute(
        name,
        """
        CREATE SEQUENCE asked;
        CREATE TABLE deaths AS SELECT 0 AS times;
        CREATE FUNCTION fatal() RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('asked') <= (SELECT times FROM deaths) THEN
                PERFORM pg_terminate_backend(pg_backend_pid());
                PERFORM pg_sleep(60);
            END IF;
            RETURN 1;
        END $$
        """,
    )
    return connect(postgres_url)


@pytest.mark.parametrize(
    ("deaths", "reads", "asked", "answer"),
    [(1, True, 2, 1), (2, True, 2, None), (1, False, 1, None)],
    ids=["a read, once", "a read, twice", "a write"],
)
def test_only_a_read_whose_connection_dies_is_sent_again(
    run: Run, dying: Database, postgres: Postgres, deaths: int, reads: bool, asked: int, answer: int | None
) -> None:
    name = run(ask(dying, "SELECT current_database()"))
    postgres.execute(name, f"UPDATE deaths SET times = {deaths}")
    call = ask if reads else write

    if answer is None:
        with pytest.raises(DatabaseUnavailable):
            run(call(dying, "SELECT fatal()"))
    else:
        assert run(call(dying, "SELECT fatal()")) == answer
    assert postgres.execute(name, "SELECT last_value FROM asked") == [(asked,)]
    # The place of the dead connection is free again.
    assert run(ask(dying, "SELECT 1")) == 1


def test_a_read_whose_server_is_gone_is_unavailable(
    run: Run, connect: Connect, postgres_url: str, proxy: Proxy
) -> None:
    database = connect(proxy.url(database_name(postgres_url)))
    run(ask(database, "SELECT 1"))
    proxy.refuse()
    threading.Timer(0.2, proxy.cut).start()
    with pytest.raises(DatabaseUnavailable):
        run(ask(database, "SELECT pg_sleep(60)"))
    proxy.accept()
    assert run(ask(database, "SELECT 1")) == 1


@pytest.fixture
def forgotten(run: Run, connect: Connect, postgres_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Eight connections that the network has forgotten, without FIN or RST; new ones are fine."""
    monkeypatch.setattr("database.connection.RESTED", 0.0)
    monkeypatch.setattr("database.postgres.MUTE", 0.5)
    database = connect(proxy.url(database_name(postgres_url)), pool_size=8, deadline=3)
    assert len(run(backends(database, 8))) == 8
    proxy.forget()
    return database


def test_reads_on_connections_that_the_network_forgot_are_answered(run: Run, forgotten: Database) -> None:
    assert [run(ask(forgotten, "SELECT 1")) for _ in range(8)] == [1] * 8


def test_of_writes_on_connections_that_the_network_forgot_at_most_one_fails(run: Run, forgotten: Database) -> None:
    """It may have happened, and so is not sent again."""

    async def touch() -> bool:
        try:
            await write(forgotten, "UPDATE users SET name = name")
        except DatabaseUnavailable:
            return False
        return True

    assert [run(touch()) for _ in range(8)] == [False] + [True] * 7


def test_the_kernel_keeps_idle_connections_alive(run: Run, connect: Connect, postgres_url: str) -> None:
    database = connect(postgres_url)
    run(ask(database, "SELECT 1"))

    with closing(socket.socket(fileno=descriptor(postgres_url))) as connection:
        options = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
        found = [connection.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        alive = connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        connection.detach()

    assert (alive, found) == (1, [30, 10, 3])


def test_connections_that_rest_are_closed(
    run: Run, connect: Connect, postgres_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database.pool.LONGEST_REST", 0.3)
    monkeypatch.setattr("database.pool.SWEEP", 0.1)
    database = connect(proxy.url(database_name(postgres_url)), pool_size=4)
    run(backends(database, 4))

    run(until(lambda: proxy.connections == 0))
    assert run(ask(database, "SELECT 1")) == 1


def test_clients_that_leave_take_no_connection_along(run: Run, connect: Connect, postgres_url: str) -> None:
    """Cancelled at their queries, a hundred times: the connections are the same afterwards."""
    database = connect(postgres_url, pool_size=4)

    async def leave() -> None:
        calls = [asyncio.create_task(ask(database, "SELECT pg_sleep(0.01)", str(number))) for number in range(8)]
        await asyncio.sleep(0.002)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    before = run(backends(database, 4))
    for _ in range(12):
        run(leave())

    assert run(backends(database, 4)) == before


def test_a_query_that_was_left_keeps_its_place_until_the_deadline(
    run: Run, connect: Connect, postgres_url: str
) -> None:
    database = connect(postgres_url, deadline=0.5)

    async def leave() -> Any:
        call = asyncio.create_task(ask(database, "SELECT pg_sleep(60)"))
        await asyncio.sleep(0.1)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        return await ask(database, "SELECT 'its place is free'")

    run(ask(database, "SELECT 1"))
    assert run(leave()) == "its place is free"


def test_what_others_overtook_is_run_again(
    run: Run, connect: Connect, postgres: Postgres, postgres_url: str, rows_of: RowsOf
) -> None:
    """PostgreSQL undoes it with 40001 where transactions are serializable."""
    name = database_name(postgres_url)
    postgres.execute(name, f"ALTER DATABASE {name} SET default_transaction_isolation = serializable")
    database = connect(postgres_url, pool_size=8)
    new = {"title": "Flip", "description": None, "completed": False, "due_date": None}

    async def toggles() -> list[bool]:
        people = [database.caller(f"person {number % 8}") for number in range(101)]
        await accounts.ensure_user(people[0], "ada", None, None)
        task = await store.create_task(people[0], "ada", new)
        found = await asyncio.gather(*(store.toggle_task(person, "ada", task.id) for person in people))
        return [row.completed for row in found]

    found = run(toggles())

    assert sorted(found) == [False] * 50 + [True] * 51
    assert rows_of(postgres_url, "SELECT completed FROM tasks") == [(True,)]


def test_a_server_that_may_only_be_read_is_unavailable(
    run: Run, connect: Connect, postgres_url: str, rows_of: RowsOf
) -> None:
    """So it is on a replica that has not been promoted yet."""
    run(ask(connect(postgres_url), "SELECT 1"))
    rows_of(postgres_url, f"ALTER DATABASE {database_name(postgres_url)} SET default_transaction_read_only = on")
    database = connect(postgres_url)

    with pytest.raises(DatabaseUnavailable):
        run(accounts.ensure_user(database.caller("ada"), "ada", None, None))


def test_a_server_that_is_not_there_yet_is_used_when_it_comes(
    run: Run, connect: Connect, postgres_url: str, proxy: Proxy
) -> None:
    database = connect(proxy.url(database_name(postgres_url)))
    proxy.refuse()
    with pytest.raises(DatabaseUnavailable):
        run(ask(database, "SELECT 1"))
    proxy.accept()

    assert run(ask(database, "SELECT count(*) FROM users")) == 0


def test_what_is_larger_than_any_buffer_arrives_and_comes_back(connect: Connect, postgres_url: str, run: Run) -> None:
    """The socket takes it in pieces, and the event loop goes on meanwhile."""
    database = connect(postgres_url)
    statement = text("SELECT CAST(:large AS text)")

    found = run(database.caller("ada").execute(statement, {"large": "x" * 50_000_000}))

    assert len(found[0][0]) == 50_000_000


def test_all_that_has_arrived_is_read_at_once(connect: Connect, postgres_url: str, run: Run) -> None:
    """libpq reads 16 KiB at first, and an event loop may not say again that there is more."""
    database = connect(postgres_url)

    async def turn() -> str:
        asking = asyncio.create_task(ask(database, "SELECT repeat('x', 40000)"))
        await asyncio.sleep(0)
        # The event loop stands still until the whole answer is there.
        while not unread(postgres_url).endswith(READY_FOR_QUERY):
            pass
        answer: str = await asking
        return answer

    run(ask(database, "SELECT 1"))
    assert run(turn()) == "x" * 40_000


def test_an_answer_to_a_caller_who_has_just_left_is_dropped(connect: Connect, postgres_url: str, run: Run) -> None:
    database = connect(postgres_url)

    async def leave() -> Any:
        asking = asyncio.create_task(ask(database, "SELECT 1"))
        await asyncio.sleep(0)
        while not unread(postgres_url).endswith(READY_FOR_QUERY):
            pass
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        return await ask(database, "SELECT 2")

    run(ask(database, "SELECT 1"))
    assert run(leave()) == 2


def test_an_idle_connection_has_nothing_to_finish(postgres: Postgres, run: Run) -> None:
    async def finish() -> bool:
        connection = await Connection.open({"dsn": postgres.url("postgres")})
        await connection.finish()
        busy = connection.busy
        connection.close()
        return busy

    assert not run(finish())


def test_an_address_of_the_url_is_taken_as_it_is(connect: Connect, postgres_url: str, run: Run) -> None:
    assert run(ask(connect(f"{postgres_url}?hostaddr=127.0.0.1"), "SELECT 1")) == 1
    with pytest.raises(DatabaseUnavailable):
        run(ask(connect(f"{postgres_url}?hostaddr=nowhere"), "SELECT 1"))


def test_a_value_of_no_known_type_is_a_defect(connect: Connect, postgres_url: str, run: Run) -> None:
    database = connect(postgres_url)
    with pytest.raises(DatabaseError, match="can't adapt"):
        run(database.caller("ada").execute(text("SELECT :value"), {"value": object()}))
    assert run(ask(database, "SELECT 1")) == 1


def descriptor(url: str) -> int:
    """Of the one connection of this process to that server."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    open_ones = psutil.Process().net_connections("tcp")
    (found,) = (
        each.fd for each in open_ones if each.raddr and each.raddr.port == port and each.status == "ESTABLISHED"
    )
    return int(found)


def unread(url: str) -> bytes:
    """What has arrived from the server and was not received."""
    with closing(socket.socket(fileno=descriptor(url))) as connection, suppress(BlockingIOError):
        try:
            return connection.recv(100_000, socket.MSG_PEEK)
        finally:
            connection.detach()
    return b""


def test_a_host_is_looked_up_and_one_that_is_nowhere_is_unavailable(
    connect: Connect, postgres_url: str, run: Run
) -> None:
    assert run(ask(connect(postgres_url.replace("127.0.0.1", "localhost")), "SELECT 1")) == 1
    with pytest.raises(DatabaseUnavailable, match="could not find the host"):
        run(ask(connect("postgresql://nowhere.invalid/todo"), "SELECT 1"))


def test_all_addresses_of_a_host_are_tried(
    connect: Connect, postgres_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`localhost` is often ::1 first, where nobody may listen."""
    of_one = socket.getaddrinfo("127.0.0.1", None, type=socket.SOCK_STREAM)
    of_none = socket.getaddrinfo("127.0.0.2", None, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: of_none + of_one)

    assert run(ask(connect(postgres_url.replace("127.0.0.1", "localhost")), "SELECT 1")) == 1


def test_an_address_that_stays_silent_is_given_up_for_the_next(
    connect: Connect, postgres_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections and never says a word."""
    port = int(postgres_url.rpartition(":")[2].partition("/")[0])
    monkeypatch.setattr("database.pool.SILENT", 0.2)
    with closing(socket.create_server(("127.0.0.2", port))):
        of_both = [
            address
            for host in ("127.0.0.2", "127.0.0.1")
            for address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: of_both)
        database = connect(postgres_url.replace("127.0.0.1", "localhost"))

        assert run(ask(database, "SELECT 1")) == 1


def test_a_query_that_was_left_ends_with_its_event_loop(
    connect: Connect, postgres: Postgres, postgres_url: str
) -> None:
    """And with its connection."""
    database = connect(postgres_url, deadline=60)
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state = 'active' AND query LIKE '%%pg_sleep%%'"
    )

    def count() -> int:
        return int(postgres.execute("postgres", running, [database_name(postgres_url)])[0][0])

    async def leave(close: bool) -> None:
        before = count()
        call = asyncio.create_task(ask(database, "SELECT pg_sleep(600)"))
        await until(lambda: count() > before)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        if close:
            database.close()

    asyncio.run(ask(database, "SELECT 1"))
    for close in (False, True):
        asyncio.run(leave(close))
    mine = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    asyncio.run(until(lambda: postgres.execute("postgres", mine, [database_name(postgres_url)]) == [(0,)]))


def test_the_server_ends_queries_that_were_given_up(
    connect: Connect, postgres: Postgres, postgres_url: str, run: Run
) -> None:
    """They would wait for the lock on connections that nobody counts any more."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    database = connect(postgres_url, deadline=0.5, pool_size=2)
    run(ask(database, "SELECT 1"))
    with closing(psycopg2.connect(postgres_url)) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailable):
            run(store.get_task(database.caller("ada"), "ada", 1))
        run(until(lambda: postgres.execute("postgres", waiting, [database_name(postgres_url)]) == [(0,)]))


def test_options_of_the_url_are_kept(connect: Connect, postgres_url: str, run: Run) -> None:
    database = connect(f"{postgres_url}?options=-c%20statement_timeout%3D3210")

    assert run(ask(database, "SHOW statement_timeout")) == "3210ms"
    assert run(ask(database, "SHOW client_connection_check_interval")) == "2s"


def test_text_is_unicode_whatever_the_encoding_of_the_database(
    connect: Connect, postgres: Postgres, postgres_url: str, run: Run
) -> None:
    name = database_name(postgres_url)
    ascii_name = f"{name}_ascii"
    postgres.execute("postgres", f"CREATE DATABASE {ascii_name} ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0")
    database = connect(postgres_url.replace(name, ascii_name))
    values = {"title": "日本 é", "description": None, "completed": False, "due_date": None}

    run(accounts.ensure_user(database.caller("é"), "é", None, "Ünï"))
    assert run(store.create_task(database.caller("é"), "é", values)).title == "日本 é"
    database.close()
    postgres.execute("postgres", f"DROP DATABASE {ascii_name}")


def test_what_a_database_cannot_hold_is_invalid_data(
    connect: Connect, postgres: Postgres, postgres_url: str, run: Run
) -> None:
    """A character that its encoding lacks; and no message repeats it."""
    name = database_name(postgres_url)
    postgres.execute("postgres", f"CREATE DATABASE {name}_latin ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
    database = connect(postgres_url.replace(name, f"{name}_latin"))
    run(accounts.ensure_user(database.caller("ada"), "ada", "ada@example.com", "Ada \N{RED APPLE}"))
    values = {"title": "An \N{RED APPLE}", "description": None, "completed": False, "due_date": None}

    with pytest.raises(InvalidData, match=r"\(22P05\)$") as raised:
        run(store.create_task(database.caller("ada"), "ada", values))
    assert "\N{RED APPLE}" not in str(raised.value)
    assert run(ask(database, "SELECT email FROM users WHERE name IS NULL")) == "ada@example.com"
    with pytest.raises(InvalidData):
        run(accounts.ensure_user(database.caller("x"), "\N{RED APPLE}", None, None))
    database.close()
    postgres.execute("postgres", f"DROP DATABASE {name}_latin")
