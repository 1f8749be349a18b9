"""Strangers who invent the names of keys: what they cost the key server, and that a new key is found all the same."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from jwt import PyJWK

import keys as keys_module
from app import create_app
from keys import INTERVAL, KeyServerUnavailable, KeySet
from tests.auth.keys.conftest import LISTED, NO_KEY, key, make_settings
from tests.support.asgi import call_at_once
from tests.support.tokens import Clock, KeyServer, bearer, claims, outcome, refusal

# Seconds between two fetches, where a test lets time pass.
SHORT = 0.1


def test_a_new_key_is_found_while_strangers_ask_without_end(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """And they have the key server asked no more than once an interval."""
    monkeypatch.setattr(keys_module, "time", time)
    keys, found = KeySet(server.url, interval=SHORT), []

    async def invent(who: int) -> None:
        for n in range(1_000_000):
            found.append(await keys.find(f"forged-{who}-{n}"))

    async def rotate() -> None:
        strangers = [asyncio.create_task(invent(who)) for who in range(20)]
        for _ in range(5):
            new = key("EdDSA", f"key-{len(server.keys) + 1}")
            server.keys.append(new)
            assert await keys.find(new.kid) is not None
        for stranger in strangers:
            stranger.cancel()

    started = time.monotonic()
    asyncio.run(rotate())
    assert set(found) == {None}
    assert server.requests <= 1 + (time.monotonic() - started) / SHORT


def test_a_key_asked_for_during_a_fetch_is_looked_for_in_a_later_one(server: KeyServer, clock: Clock) -> None:
    """The one under way may have been answered before the key was there."""
    keys = KeySet(server.url)

    async def ask_twice() -> list[PyJWK | None]:
        server.bodies = [server.jwks()]
        server.hold()
        before = asyncio.create_task(keys.find("forged"))
        await asyncio.to_thread(server.wait_until_asked)
        server.keys.append(key("EdDSA", "key-2"))
        clock.now += INTERVAL
        meanwhile = [asyncio.create_task(keys.find("key-2")) for _ in range(10)]
        await asyncio.sleep(0)
        server.release()
        return await asyncio.gather(before, *meanwhile)

    before, *meanwhile = asyncio.run(ask_twice())
    assert before is None
    assert None not in meanwhile
    assert server.requests == 2


def test_forged_keys_reach_the_key_server_once_in_an_interval(server: KeyServer, clock: Clock) -> None:
    """However many callers wait for it at once, and whether it answers or not; where it failed, none waits."""
    keys = KeySet(server.url)

    async def storm() -> set[Any]:
        answers = await asyncio.gather(*(keys.find(f"forged-{n}") for n in range(100)), return_exceptions=True)
        return {type(answer) for answer in answers}

    for requests, status in ((1, 200), (2, 500), (3, 200)):
        server.status = status
        expected = {type(None) if status == 200 else KeyServerUnavailable}
        assert [asyncio.run(storm()) for _ in range(2)] == [expected, expected]
        assert server.requests == requests
        clock.now += INTERVAL
    server.status = 500
    assert asyncio.run(storm()) == {KeyServerUnavailable}
    clock.now += INTERVAL / 2
    assert asyncio.run(storm()) == {KeyServerUnavailable}
    assert server.requests == 4


def test_a_token_of_a_new_key_is_good_at_once_among_forged_ones(
    server: KeyServer, clock: Clock, tmp_path: Path
) -> None:
    """Neither a 401, which would have its owner sign in again, nor a 503."""
    new, forged = key("EdDSA", "key-2"), [key().sign(claims(), kid=f"forged-{n}") for n in range(20)]
    app = create_app(make_settings(server, database_url=f"sqlite:///{tmp_path}/todo.db", pool_size=1))
    calls = [
        {"method": "GET", "url": "/api/tasks", "headers": bearer(token)} for token in (*forged, new.sign(claims()))
    ]

    before = [outcome(answer) for answer in call_at_once(app, calls)]
    server.keys.append(new)
    clock.now += INTERVAL - SHORT
    after = [outcome(answer) for answer in call_at_once(app, calls)]
    app.state.database.close()

    assert before == [refusal(NO_KEY)] * 21
    assert after == [*[refusal(NO_KEY)] * 20, LISTED]
    assert server.requests == 2


def test_who_waits_for_a_key_waits_no_longer_than_one_fetch_may_take(server: KeyServer, clock: Clock) -> None:
    keys = KeySet(server.url, interval=1000, timeout=1)
    assert asyncio.run(keys.find("key-1"))
    clock.now += 1

    with pytest.raises(KeyServerUnavailable, match="too slow"):
        asyncio.run(keys.find("forged"))
    assert server.requests == 1
