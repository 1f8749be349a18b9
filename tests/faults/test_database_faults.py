"""PostgreSQL and the way to it: killed connections, a stopped, frozen or unreachable server."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing

import httpx2
import pytest

from database import DEADLINE
from tests.faults.client import Client
from tests.faults.load import STORED, WRITES, Load, Outcome, until
from tests.faults.processes import connections, freeze, resident, workers
from tests.support.proxy import Proxy
from tests.support.servers import Postgres

Kill = Callable[[], Awaitable[int]]


def test_connections_killed_while_idle_fail_no_request(server: Postgres, database: str, kill: Kill) -> None:
    """Neon ends all of them when it goes to sleep."""

    async def story(api: str) -> Load:
        load, killed = Load(api), 0
        async with load.running():
            await load.more(200)
            for _ in range(10):
                await load.pause()
                killed += await kill()
                load.going.set()
                await load.more()
        assert killed >= 40
        return load

    with workers(server.url(database)) as (_, api):
        load = asyncio.run(story(api))
    assert load.failed() == []
    assert load.compare(server.execute(database, STORED)) == []


def test_reads_survive_killed_connections_and_writes_are_never_repeated(
    server: Postgres, database: str, kill: Kill
) -> None:
    async def story(api: str) -> Load:
        load, rounds = Load(api), 0
        async with load.running():
            await load.more(200)
            # Until enough of them were hit at work.
            while rounds < 12 or len(load.failed()) < 8:
                assert rounds < 200, load.summary()
                await kill()
                await load.more(300)
                rounds += 1
        return load

    with workers(server.url(database)) as (_, api):
        load = asyncio.run(story(api))
    assert load.lost == []
    assert {(outcome.operation in WRITES, outcome.status) for outcome in load.failed()} == {(True, 503)}
    assert load.compare(server.execute(database, STORED)) == []


def unavailable(outcomes: list[Outcome]) -> list[Outcome]:
    """Those that were no 503 with Retry-After within the deadline."""
    return [outcome for outcome in outcomes if (outcome.status, outcome.retry_after) != (503, "1") or outcome.late]


def test_a_stopped_server_is_a_503_until_it_is_back(server: Postgres, database: str) -> None:
    async def story(api: str) -> tuple[Load, float]:
        load = Load(api)
        async with load.running():
            await load.more(200)
            await asyncio.to_thread(server.halt)
            await asyncio.sleep(5)
            await asyncio.to_thread(server.resume)
            back, before = time.monotonic(), load.good
            await until(lambda: load.good > before)
            recovered = time.monotonic() - back
            await load.more(200)
        return load, recovered

    with workers(server.url(database)) as (_, api):
        load, recovered = asyncio.run(story(api))
    assert load.lost == []
    assert len(load.failed()) > 100
    assert unavailable(load.failed()) == []
    assert recovered < 1
    assert load.compare(server.execute(database, STORED)) == []


@pytest.mark.parametrize("fault", ["frozen server", "silent network"])
def test_what_hangs_is_a_503_within_the_deadline(server: Postgres, database: str, fault: str) -> None:
    async def story(api: str, pid: int, proxy: Proxy) -> Load:
        load, late = Load(api), []
        async with AsyncExitStack() as stack:
            health = stack.enter_context(closing(Client(api, {})))
            await stack.enter_async_context(load.running())
            await load.more(200)
            memory = resident(pid)
            if fault == "frozen server":
                go_on = freeze(server.pid)
            else:
                proxy.freeze()
                go_on = proxy.thaw
            try:
                end = time.monotonic() + DEADLINE + 2
                while time.monotonic() < end:
                    asked = time.monotonic()
                    assert (await health.request("GET", "/health")).status == 200
                    late.append(time.monotonic() - asked)
                    await asyncio.sleep(0.05)
                assert resident(pid) < memory + 32 * 2**20
                assert connections(pid, proxy.port) <= 2 * 4
            finally:
                go_on()
            await load.more(200)
        assert sorted(late)[len(late) // 2] < 0.05
        return load

    with (
        Proxy(server.port) as proxy,
        workers(proxy.url(database)) as (process, api),
    ):
        load = asyncio.run(story(api, process.pid, proxy))
    assert load.lost == []
    assert len(load.failed()) >= 32
    assert unavailable(load.failed()) == []
    assert load.compare(server.execute(database, STORED)) == []


def test_a_write_under_way_is_not_acknowledged_before_it_is_kept(server: Postgres, database: str) -> None:
    """The server's own processes are killed, one after the other, as the kernel does when memory is short."""

    async def story(api: str) -> Load:
        load = Load(api)
        async with load.running():
            for _ in range(3):
                await load.more(200)
                victim = await asyncio.to_thread(
                    server.execute,
                    database,
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
                )
                # PostgreSQL then restarts as a whole, and recovers from its log.
                os.kill(victim[0][0], signal.SIGKILL)
            await load.more(200)
        return load

    with workers(server.url(database)) as (_, api):
        load = asyncio.run(story(api))
        assert httpx2.get(f"{api}/ready").status_code == 200
    assert load.lost == []
    assert unavailable(load.failed()) == []
    assert load.compare(server.execute(database, STORED)) == []
