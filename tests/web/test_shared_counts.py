"""RATE_LIMIT_STORAGE: processes share a count through Redis, and nobody is refused or kept waiting because of Redis."""

import asyncio
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.support.clock import Clock
from tests.support.processes import missing
from tests.support.redis_server import RedisServer
from tests.support.tokens import bearer, token_of
from web import shared_counts
from web.counts import Counts, Rate
from web.shared_counts import PAUSE, SharedCounts

pytestmark = pytest.mark.database("any")

AWAY = "Redis cannot be used ({}); until it can, each process counts requests by itself."
HUNG = AWAY.format("it does not answer in time")
BACK = "Redis answers again; requests are counted there."

Start = Callable[[str], TestClient]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    if not RedisServer.available():
        missing("redis-server")
    with RedisServer() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged of Redis so far."""
    caplog.set_level(logging.INFO, "todo.rate_limit")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "todo.rate_limit"]


@pytest.fixture
def start(settings: Settings, clock: Clock) -> Iterator[Start]:
    """Start an app with this storage, and give Ada's client of it."""
    with ExitStack() as running:

        def start(url: str) -> TestClient:
            app = limited(settings, url, clock)
            return running.enter_context(TestClient(app, headers=bearer(token_of("ada"))))

        yield start


def limited(settings: Settings, url: str, clock: Clock) -> Starlette:
    app = create_app(replace(settings, rate_limit="4/minute", rate_limit_storage=url))
    limit = app.state.rate_limit
    limit.shared = SharedCounts("4/minute", url, limit.counts, clock)
    return app


def left(client: TestClient) -> int:
    """How many requests are left after one more; -1 when it is refused."""
    answer = client.get("/api/tasks")
    found = re.fullmatch(r'"person";r=(\d);t=\d+', answer.headers["RateLimit"])
    assert found
    assert answer.status_code in (200, 429)
    return int(found[1]) if answer.status_code == 200 else -1


def test_two_processes_share_a_count(server: RedisServer, start: Start) -> None:
    first, second = start(server.url()), start(server.url())

    assert [left(first), left(second), left(first), left(second)] == [3, 2, 1, 0]
    assert [left(first), left(second)] == [-1, -1]


def test_a_429_says_when_to_try_again(server: RedisServer, start: Start) -> None:
    ada = start(server.url())
    for _ in range(4):
        ada.get("/api/tasks")

    answer = ada.get("/api/tasks")

    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    assert answer.headers["RateLimit-Policy"] == '"person";q=4;w=60'


def test_after_retry_after_a_request_passes(server: RedisServer) -> None:
    """By the clock of Redis, which cannot be moved."""

    async def use_up_and_wait() -> list[bool]:
        shared = SharedCounts("3/second", server.url(), Counts(Rate(3, 1)))
        passed = []
        for _ in range(5):
            while (quota := await shared.hit("ada")).passes:
                pass
            await asyncio.sleep(quota.retry_after)
            passed.append((await shared.hit("ada")).passes)
        await shared.close()
        return passed

    assert asyncio.run(use_up_and_wait()) == [True] * 5


@pytest.mark.parametrize("person", ["a b\r\nDEL x", "{a}/-1", "名前" * 100, "ada\x00"], ids=ascii)
def test_an_id_may_hold_any_characters_and_is_not_stored(server: RedisServer, person: str) -> None:
    async def hit() -> list[int]:
        shared = SharedCounts("4/minute", server.url(), Counts(Rate(4, 60)))
        found = [(await shared.hit(each)).remaining for each in (person, person, f"{person}/")]
        await shared.close()
        return found

    assert asyncio.run(hit()) == [3, 2, 3]
    keys = server.keys()
    assert len(keys) == 2
    assert all(re.fullmatch(rb"todo:\{LIMITER/[0-9a-f]{64}/4/1/minute\}", key) for key in keys)


def test_tls(start: Start, messages: Callable[[], list[str]]) -> None:
    if not RedisServer.available():
        missing("redis-server")
    with RedisServer(tls=True) as server:
        first, second = start(server.url()), start(server.url())
        assert [left(first), left(second)] == [3, 2]
        assert messages() == []


def test_while_redis_is_away_each_process_counts_by_itself(
    server: RedisServer, start: Start, clock: Clock, messages: Callable[[], list[str]]
) -> None:
    ada = start(server.url())
    assert (left(ada), left(ada)) == (3, 2)

    server.halt()
    # It counts those before too, so that nobody starts anew.
    assert [left(ada) for _ in range(5)] == [1, 0, -1, -1, -1]
    clock.now += PAUSE
    assert left(ada) == -1
    (away,) = messages()
    assert away.startswith(AWAY.partition("{")[0])

    server.resume()
    assert left(ada) == -1
    clock.now += PAUSE
    assert (left(ada), left(ada)) == (3, 2)
    assert messages() == [away, BACK]


def test_a_redis_that_was_started_again_in_between_is_used_at_once(
    server: RedisServer, start: Start, messages: Callable[[], list[str]]
) -> None:
    ada = start(server.url())
    assert left(ada) == 3

    server.restart()

    assert (left(ada), left(ada)) == (3, 2)
    assert messages() == []


def test_a_redis_that_hangs_is_left_alone_until_it_answers(
    server: RedisServer, start: Start, clock: Clock, messages: Callable[[], list[str]]
) -> None:
    ada = start(server.url())
    assert left(ada) == 3

    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert (left(ada), left(ada)) == (2, 1)
        clock.now += PAUSE
        assert left(ada) == 0
        assert messages() == [HUNG]
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert left(ada) == -1

    clock.now += PAUSE
    # What hung may have been counted in the end.
    assert left(ada) in (0, 1, 2)
    assert messages() == [HUNG, BACK]


def test_many_requests_at_once_to_a_redis_that_hangs_log_it_once(
    server: RedisServer, clock: Clock, messages: Callable[[], list[str]]
) -> None:
    counts = Counts(Rate(100, 60))

    async def hit_at_once() -> list[bool]:
        shared = SharedCounts("100/minute", server.url(), counts, clock)
        found = await asyncio.gather(*(shared.hit("ada") for _ in range(60)))
        await shared.close()
        return [quota.passes for quota in found]

    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert asyncio.run(hit_at_once()) == [True] * 60
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert counts.hit("ada").remaining == 39
    assert messages() == [HUNG]


def test_no_password_is_logged(
    server: RedisServer, start: Start, messages: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """Of a user whom Redis does not know."""
    ada = start(server.url().replace("//", "//ada:sesame@"))

    assert left(ada) == 3

    assert messages() == [AWAY.format("invalid username-password pair or user is disabled.")]
    assert "sesame" not in caplog.text


def test_an_option_that_does_not_fit_refuses_nobody(
    server: RedisServer, start: Start, messages: Callable[[], list[str]]
) -> None:
    ada = start(f"{server.url()}?ssl_cert_reqs=none")

    assert left(ada) == 3
    assert len(messages()) == 1


def test_one_request_alone_asks_whether_redis_is_back(server: RedisServer, clock: Clock) -> None:
    async def hit_at_once_after_an_outage() -> list[int]:
        shared = SharedCounts("100/minute", server.url(), Counts(Rate(100, 60)), clock)
        server.halt()
        await shared.hit("ada")
        server.resume()
        clock.now += PAUSE
        found = await asyncio.gather(*(shared.hit("ada") for _ in range(10)))
        found.append(await shared.hit("ada"))
        await shared.close()
        return [quota.remaining for quota in found]

    # The first one is counted by Redis, and the others by the process, which has counted two before.
    assert asyncio.run(hit_at_once_after_an_outage()) == [99, *range(97, 88, -1), 98]


def test_a_burst_of_one_process_is_no_outage(
    server: RedisServer, clock: Clock, messages: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those for whom no turn comes are counted in the process."""
    monkeypatch.setattr(shared_counts, "TURNS", 1)

    async def burst() -> int:
        shared = SharedCounts("10/minute", server.url(), Counts(Rate(10, 60)), clock)
        await shared.open()
        os.kill(server.pid, signal.SIGSTOP)
        monkeypatch.setattr(shared_counts, "PATIENCE", 60.0)
        first = asyncio.create_task(shared.hit("ada"))
        await asyncio.sleep(0)
        os.kill(server.pid, signal.SIGCONT)
        monkeypatch.setattr(shared_counts, "PATIENCE", 0.0)
        others = await asyncio.gather(*(shared.hit("ada") for _ in range(30)))
        passes = [quota.passes for quota in (await first, *others)]
        await shared.close()
        return sum(passes)

    assert asyncio.run(burst()) == 10
    assert messages() == []
