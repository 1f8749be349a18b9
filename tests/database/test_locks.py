"""Tables that cannot be created because somebody holds a lock: one attempt waits at a time, and not for long."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import httpx2
import psycopg2
import pytest

from database import NotPrepared
from migrations.locks import LOCK
from tests.conftest import database_name
from tests.database.conftest import Connect, Run, ask, recover
from tests.support.backend import backend
from tests.support.servers import Postgres

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def await_until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


@contextmanager
def holding(url: str, sql: str) -> Iterator[Any]:
    """An open transaction of somebody else, until `rollback`."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        yield connection


def test_one_attempt_of_a_process_waits_for_the_lock_of_another(
    run: Run, connect: Connect, postgres: Postgres, postgres_url: str
) -> None:
    database = connect(postgres_url, pool_size=8)

    async def calls() -> tuple[list[Any], int]:
        people = [asyncio.create_task(ask(database, "SELECT 1", f"person {n}")) for n in range(40)]
        most = 0
        while not all(person.done() for person in people):
            (waiting,) = (await asyncio.to_thread(postgres.execute, database_name(postgres_url), WAITING))[0]
            most = max(most, waiting)
        return await asyncio.gather(*people, return_exceptions=True), most

    with holding(postgres_url, f"SELECT pg_advisory_xact_lock({LOCK})"):
        errors, most = run(calls())
        assert {type(error) for error in errors} == {NotPrepared}
        assert {str(error) for error in errors} == {
            "tables are missing and cannot be created: canceling statement due to lock timeout (55P03)"
        }
        assert most == 1
        assert postgres.execute(database_name(postgres_url), WAITING) == [(0,)]
    recover(run, database)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_nothing_waits_for_a_lock_once_the_app_is_gone(
    how: signal.Signals, postgres: Postgres, postgres_url: str
) -> None:
    name = database_name(postgres_url)
    with holding(postgres_url, f"SELECT pg_advisory_xact_lock({LOCK})"):
        with backend(postgres_url) as (process, api), httpx2.Client(timeout=0.2) as client:

            def waits() -> bool:
                with suppress(httpx2.TimeoutException):
                    client.get(f"{api}/ready")
                return postgres.execute(name, WAITING) == [(1,)]

            await_until(waits)
            os.kill(process.pid, how)
        # The holder itself.
        await_until(lambda: postgres.execute(name, OTHERS) == [(1,)])


def test_others_write_while_the_app_waits_for_a_table(
    run: Run, connect: Connect, postgres: Postgres, postgres_url: str
) -> None:
    """An open INSERT blocks DDL that refers to its table, and the waiting DDL would block every later writer."""
    name = database_name(postgres_url)
    insert = "SET lock_timeout = '4s'; INSERT INTO users (id) VALUES ('person ' || gen_random_uuid())"
    run(connect(postgres_url).ready())
    postgres.execute(name, "DROP TABLE tasks")
    database = connect(postgres_url)

    async def attempts() -> None:
        for _ in range(3):
            with pytest.raises(NotPrepared, match="lock timeout"):
                await database.ready()
            await asyncio.sleep(1)

    async def inserts() -> None:
        trying = asyncio.create_task(attempts())
        while not trying.done():
            await asyncio.to_thread(postgres.execute, name, insert)
        await trying

    with holding(postgres_url, "INSERT INTO users (id) VALUES ('somebody')"):
        run(inserts())
    recover(run, database)

    assert postgres.execute(name, "SELECT count(*) FROM tasks") == [(0,)]
