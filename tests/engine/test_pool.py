"""The pool: who is given a connection, and that nothing is kept of one that is no more."""

import asyncio
import gc
import weakref
from contextlib import suppress
from typing import Any

import pytest
from sqlmodel import Session

import store
from database import DatabaseUnavailable
from pool import Pool
from tests.conftest import database_name
from tests.engine.conftest import Connect, Run, query
from tests.faults.load import until
from tests.faults.processes import KILL
from tests.proxy import Proxy
from tests.servers import Postgres


class Thing:
    """What a store function may give."""


class Defect(Exception):
    """What it may raise."""


def test_a_loop_that_ended_may_be_dealt_with_by_another_thread(connect: Connect, postgres_url: str, run: Run) -> None:
    database = connect(postgres_url)
    pools: dict[Any, Any] = database._engine._pools  # type: ignore[union-attr]

    class Ended:
        def is_closed(self) -> bool:
            del pools[self]
            return True

    pools[Ended()] = None
    run(database.run(store.ping))
    assert len(pools) == 1


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
        postgres.execute(database_name(postgres_url), KILL)
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
