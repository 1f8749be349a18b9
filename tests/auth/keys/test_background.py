"""Fetches that nobody waits for, or that are under way in another event loop."""

import asyncio
import logging
import threading
from functools import partial

import pytest
from jwt import PyJWK

from keys import INTERVAL, LIFETIME, KeySet
from tests.auth.keys.conftest import find, key
from tests.support.tokens import Clock, KeyServer
from tests.support.waiting import until


def told_as_often(log: pytest.LogCaptureFixture, lines: int) -> bool:
    return len(log.messages) == lines


def test_a_fetch_ends_with_its_event_loop_and_the_next_loop_makes_its_own(
    server: KeyServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether somebody waited for it, or it ran in the background."""
    keys = KeySet(server.url)

    async def leave_in_the_middle(kid: str) -> PyJWK | None:
        server.hold()
        waiting = asyncio.create_task(keys.find(kid))
        await asyncio.to_thread(server.wait_until_asked)
        return await waiting if waiting.done() else None

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(leave_in_the_middle("key-1")) is None
        server.release()
        clock.now += INTERVAL
        assert find(keys) is not None
        clock.now += LIFETIME + 1
        assert asyncio.run(leave_in_the_middle("key-1")) is not None
        server.release()
        clock.now += INTERVAL
        assert find(keys, "key-2") is None
    assert server.requests == 4
    assert caplog.messages == []


def test_no_event_loop_waits_for_the_fetch_of_another(server: KeyServer) -> None:
    keys, found = KeySet(server.url, interval=0), []
    server.hold()
    other = threading.Thread(target=lambda: found.append(find(keys)))
    other.start()
    server.wait_until_asked()
    server.bodies = [server.jwks(), server.jwks()]

    async def ask() -> PyJWK | None:
        waiting = asyncio.create_task(keys.find("key-1"))
        await until(lambda: server.requests == 2 or waiting.done())
        server.release()
        return await waiting

    found.append(asyncio.run(ask()))
    other.join()
    assert len(found) == 2
    assert None not in found


def test_an_old_set_is_fetched_in_the_background_once_an_interval(
    server: KeyServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that fails is in the log, and the keys that are known go on."""
    keys = KeySet(server.url)

    async def ask_often() -> None:
        assert await keys.find("key-1")
        server.status = 500
        clock.now += LIFETIME + 1
        for fetches in (1, 2):
            for _ in range(10):
                assert await keys.find("key-1")
            await until(partial(told_as_often, caplog, fetches))
            clock.now += INTERVAL

    with caplog.at_level(logging.WARNING):
        asyncio.run(ask_often())
    assert server.requests == 3
    told = f"The key server {server.url} gave no set of keys within 5 seconds: ValueError(the server answered 500)"
    assert caplog.messages == [told, told]


def test_a_fetch_in_the_background_that_trickles_makes_room_for_the_next(
    server: KeyServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeySet(server.url, timeout=1)

    async def ask_meanwhile() -> PyJWK | None:
        assert await keys.find("key-1")
        server.trickles = "body"
        clock.now += LIFETIME + 1
        assert await keys.find("key-1")
        await until(partial(told_as_often, caplog, 1))
        server.trickles = ""
        server.keys.append(key("EdDSA", "key-2"))
        clock.now += INTERVAL
        return await keys.find("key-2")

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(ask_meanwhile()) is not None
    assert caplog.messages == [f"The key server {server.url} gave no set of keys within 1 seconds: TimeoutError()"]
