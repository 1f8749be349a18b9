"""How busy the database is, and what was given up: the numbers behind the metrics."""

import asyncio
from contextlib import suppress
from pathlib import Path

from database import Database, DatabaseUnavailable
from tests.database.conftest import FOREVER, Connect, Run, ask, write
from tests.support.waiting import until

SLOW = "SELECT pg_sleep(60)"


async def people_ask(database: Database, sql: str, count: int) -> list[asyncio.Task[object]]:
    calls = [asyncio.create_task(ask(database, sql, f"person {number}")) for number in range(count)]
    await until(lambda: database.statistics.in_use == 1)
    return calls


async def leave(calls: list[asyncio.Task[object]]) -> None:
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


def test_a_database_that_was_never_asked_is_idle(connect: Connect, tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/todo.db")

    assert database.statistics == (0, 0, 0, 0)
    assert database.given_up == {"deadline": 0, "caller": 0}


def test_calls_to_postgresql_are_in_use_or_wait_or_are_refused(run: Run, connect: Connect, postgres_url: str) -> None:
    database = connect(postgres_url)

    async def look() -> list[tuple[int, ...]]:
        await ask(database, "SELECT 1")
        idle = database.statistics
        calls = await people_ask(database, SLOW, 130)
        full = database.statistics
        await leave(calls[1:])
        alone = database.statistics
        await leave(calls[:1])
        return [idle, full, alone]

    assert run(look()) == [(0, 1, 0, 0), (1, 0, 128, 1), (1, 0, 0, 1)]
    assert database.given_up == {"deadline": 0, "caller": 129}


def test_calls_to_sqlite_are_those_in_its_threads(run: Run, connect: Connect, tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/todo.db")

    async def look() -> list[tuple[int, ...]]:
        await ask(database, "SELECT 1")
        idle = database.statistics
        calls = await people_ask(database, FOREVER, 3)
        busy = database.statistics
        await leave(calls)
        return [idle, (busy.in_use, busy.waiting, busy.refused)]

    idle, busy = run(look())
    assert idle.in_use == idle.waiting == idle.refused == 0
    assert idle.idle > 0
    assert busy == (1, 2, 0)
    assert database.given_up["caller"] == 3


def test_a_call_whose_deadline_passes_is_given_up(run: Run, connect: Connect, postgres_url: str) -> None:
    database = connect(postgres_url)

    async def ask_once() -> None:
        await ask(database, "SELECT 1")
        database.deadline = 0.2
        with suppress(DatabaseUnavailable):
            await write(database, SLOW)

    run(ask_once())
    assert database.given_up == {"deadline": 1, "caller": 0}
