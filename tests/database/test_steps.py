"""Transactions of several round trips: all of their statements take effect or none does, whatever ends them."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from sqlmodel import text

from database import Conflict, Database, DatabaseError, DatabaseUnavailable, Executables, Steps, StepsRun
from tests.conftest import Rows as RowsOfTest
from tests.conftest import database_name
from tests.database.conftest import FOREVER, Connect, Run, ask, query
from tests.support.proxy import Proxy

USERS = "SELECT count(*) FROM users"
COUNT = query(USERS)
NOTHING: Mapping[str, Any] = {}
SLEEP = {"sqlite": query(FOREVER), "postgresql": query("SELECT pg_sleep(60)")}


def insert(name: str) -> Executables:
    return text(f"INSERT INTO users (id, created_at) VALUES ('{name}', '2026-01-01')")


def steps(*statements: Executables, error: Exception | None = None) -> Steps:
    """Count the users after all of these."""

    def wanted() -> StepsRun:
        for statement in statements:
            yield statement, NOTHING
        if error:
            raise error
        return (yield COUNT, NOTHING)

    return wanted


async def run_steps(database: Database, wanted: Steps) -> int:
    return int((await database.caller("ada").run_steps(wanted))[0][0])


def slow(database: Database) -> Steps:
    return steps(insert("ada"), SLEEP[database.engine.dialect.name])


def test_all_take_effect_and_each_sees_those_before(run: Run, connect: Connect, database_url: str) -> None:
    database = connect(database_url)
    assert run(run_steps(database, steps(insert("ada"), insert("bob")))) == 2
    assert run(ask(database, USERS)) == 2


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (steps(insert("ada"), insert("bob"), insert("ada")), Conflict),
        (steps(insert("ada"), query("SELECT FROM WHERE")), DatabaseError),
        (steps(insert("ada"), error=ValueError("changed my mind")), ValueError),
    ],
    ids=["conflict", "defect", "of-the-steps"],
)
def test_none_takes_effect_when_something_is_raised(
    run: Run, connect: Connect, database_url: str, wanted: Steps, error: type[Exception]
) -> None:
    database = connect(database_url)
    with pytest.raises(error):
        run(run_steps(database, wanted))
    assert run(ask(database, USERS)) == 0
    assert run(run_steps(database, steps(insert("bob")))) == 1


def test_each_round_trip_has_a_deadline(run: Run, connect: Connect, postgres_url: str) -> None:
    database = connect(postgres_url, deadline=0.5)
    run(database.ready())
    with pytest.raises(DatabaseUnavailable, match="too long"):
        run(run_steps(database, slow(database)))
    assert run(ask(database, USERS)) == 0
    assert database.given_up == {"deadline": 1, "caller": 0}


def test_the_whole_has_a_deadline(
    run: Run, connect: Connect, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database.LONGEST", 0.5)
    database = connect(database_url)
    run(database.ready())
    with pytest.raises(DatabaseUnavailable, match="too long"):
        run(run_steps(database, slow(database)))
    assert run(ask(database, USERS)) == 0


def test_who_leaves_undoes_it(run: Run, connect: Connect, database_url: str) -> None:
    database = connect(database_url)

    async def leave() -> None:
        await database.ready()
        taking = asyncio.create_task(run_steps(database, slow(database)))
        await asyncio.sleep(0.3)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking

    run(leave())
    assert run(ask(database, USERS)) == 0
    assert database.given_up == {"deadline": 0, "caller": 1}


def test_a_connection_that_breaks_between_two_steps_undoes_it(
    run: Run, connect: Connect, postgres_url: str, proxy: Proxy
) -> None:
    """What follows must not be done on another connection."""
    database = connect(proxy.url(database_name(postgres_url)))

    def wanted() -> StepsRun:
        yield insert("ada"), NOTHING
        proxy.cut()
        yield insert("bob"), NOTHING
        return ()

    run(database.ready())
    with pytest.raises(DatabaseUnavailable):
        run(database.caller("ada").run_steps(wanted))
    assert run(ask(database, USERS)) == 0


def test_a_server_that_cannot_be_reached_is_unavailable(run: Run, connect: Connect, postgres_url: str) -> None:
    database = connect(postgres_url)
    run(database.ready())
    database.close()
    away = connect("postgresql://127.0.0.1:9/todo")
    with pytest.raises(DatabaseUnavailable):
        run(away.engine.run_steps(steps(), "ada", 1.0))


def test_tables_that_are_gone_are_made_again(run: Run, connect: Connect, database_url: str, rows: RowsOfTest) -> None:
    database = connect(database_url)
    run(database.ready())
    for name in ("deleted_tasks", "change_clocks", "idempotency_keys", "tasks", "users"):
        rows(f"DROP TABLE {name}")
    with pytest.raises(DatabaseUnavailable):
        run(run_steps(database, steps(insert("ada"))))
    assert run(run_steps(database, steps(insert("ada")))) == 1


def test_what_others_overtook_is_run_again(run: Run, connect: Connect, postgres_url: str) -> None:
    """As after a deadlock, which PostgreSQL ends by undoing one of two."""
    overtaken = text("DO $$ BEGIN RAISE 'overtaken' USING ERRCODE = '40P01'; END $$")
    attempts: list[Executables] = [overtaken, overtaken, insert("bob")]

    def wanted() -> StepsRun:
        yield insert("ada"), NOTHING
        yield attempts.pop(0), NOTHING
        return (yield COUNT, NOTHING)

    assert run(run_steps(connect(postgres_url), wanted)) == 2
