"""What the key server may do: new and withdrawn keys, outages, and answers that are not a key set."""

import asyncio
from pathlib import Path

import httpx2
import pytest
from jwt import PyJWK

from app import create_app
from auth import Refused, TokenVerifier
from keys import INTERVAL, LIFETIME, KeySet
from tests.auth.keys.conftest import LISTED, NEVER_FETCHED, NO_KEY, UNREACHABLE, Call, key, make_settings
from tests.support.backend import backend
from tests.support.tokens import Clock, KeyServer, Outcome, bearer, claims, key_server, outcome, refusal, token_of


def test_a_new_key_is_fetched_and_the_old_one_goes_on(call: Call, server: KeyServer, clock: Clock) -> None:
    old, new = key(), key("EdDSA", "key-2")
    assert call(old.sign(claims())) == LISTED
    server.keys = [new, old]
    clock.now += INTERVAL

    assert call(new.sign(claims())) == LISTED
    assert call(old.sign(claims())) == LISTED
    assert call(old.sign(claims("bob"))) == LISTED
    assert server.requests == 2


@pytest.mark.parametrize("caller", ["ada", "bob"], ids=["remembered-token", "new-token"])
def test_a_removed_key_stops_working_when_the_set_is_read_again(
    call: Call, server: KeyServer, clock: Clock, caller: str
) -> None:
    """Also for a token that was remembered."""
    remembered, unknown = key().sign(claims()), key("EdDSA", "key-3").sign(claims())
    assert call(remembered) == LISTED
    server.keys = [key("EdDSA", "key-2")]
    clock.now += LIFETIME
    assert call(remembered) == LISTED
    assert server.requests == 1
    clock.now += 1
    server.hold()

    # This one has the set read again, without waiting for it ...
    assert call(remembered if caller == "ada" else key().sign(claims(caller))) == LISTED
    server.wait_until_asked()
    server.release()
    # ... and this one waits.
    assert call(unknown) == refusal(NO_KEY)
    assert call(remembered) == refusal(NO_KEY)
    assert call(key().sign(claims("bob"))) == refusal(NO_KEY)
    assert server.requests == 2


def test_a_set_that_has_not_changed_leaves_remembered_tokens_alone(
    call: Call, server: KeyServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = key().sign(claims())
    # The first call has the keys fetched, and what was verified meanwhile is not remembered for long.
    assert [call(token), call(token)] == [LISTED, LISTED]
    clock.now += LIFETIME + 1
    assert call(key("EdDSA", "key-2").sign(claims())) == refusal(NO_KEY)
    monkeypatch.setattr("auth.jwt.decode", None)

    assert call(token) == LISTED
    assert server.requests == 2


class WithdrawingKeySet(KeySet):
    """Whose key is withdrawn just after it was found."""

    def __init__(self, server: KeyServer, clock: Clock) -> None:
        super().__init__(server.url)
        self.server, self.clock = server, clock

    async def find(self, kid: str) -> PyJWK | None:
        found = await super().find(kid)
        self.server.keys = [key("EdDSA", "key-2")]
        self.clock.now += INTERVAL
        await super().find("unknown")
        return found


def test_a_key_that_is_withdrawn_meanwhile_is_not_remembered(server: KeyServer, clock: Clock) -> None:
    verifier = TokenVerifier(make_settings(server), WithdrawingKeySet(server, clock))
    token = key().sign(claims())
    asyncio.run(verifier.verify(token))

    with pytest.raises(Refused, match="names no key"):
        asyncio.run(verifier.verify(token))


def test_an_unreachable_key_server_is_a_503(call: Call, server: KeyServer) -> None:
    server.close()

    assert call(key().sign(claims())) == NEVER_FETCHED
    assert call(token_of("ada")) == LISTED


def test_known_keys_go_on_while_the_key_server_is_unreachable(call: Call, server: KeyServer, clock: Clock) -> None:
    token = key().sign(claims())
    assert call(token) == LISTED
    server.close()
    for _ in range(3):
        clock.now += LIFETIME + 1
        assert call(key("EdDSA", "key-2").sign(claims())) == UNREACHABLE
        assert call(token) == LISTED
        assert call(key().sign(claims("bob"))) == LISTED


NONSENSE = [
    b"",
    b"<html>",
    b"\xff",
    b"[]",
    b"null",
    b'"keys"',
    b"{}",
    b"[" * 100_000,
    b'{"keys": null}',
    b'{"keys": {}}',
]


@pytest.mark.parametrize("body", NONSENSE, ids=lambda body: body[:40].decode(errors="replace"))
def test_an_answer_that_is_not_a_key_set_is_a_503(call: Call, server: KeyServer, clock: Clock, body: bytes) -> None:
    """Until it answers correctly again. Keys that were fetched before stay usable."""
    server.body = body
    assert call(key().sign(claims())) == NEVER_FETCHED
    server.body = None
    assert call(key().sign(claims())) == NEVER_FETCHED
    clock.now += INTERVAL
    assert call(key().sign(claims())) == LISTED
    server.body = body
    clock.now += LIFETIME + 1
    assert call(key("EdDSA", "key-2").sign(claims())) == UNREACHABLE
    assert call(key().sign(claims("bob"))) == LISTED
    assert server.requests == 3


def test_a_running_server_logs_no_query_of_the_address_of_the_keys(server: KeyServer, tmp_path: Path) -> None:
    """It may hold somebody's credentials, and libraries log the addresses that they ask."""
    with backend(f"sqlite:///{tmp_path}/todo.db", JWKS_URL=f"{server.url}?key=sesame") as (process, api):
        good = httpx2.get(f"{api}/api/tasks", headers=bearer(key().sign(claims())))
        server.status = 500
        unknown = httpx2.get(f"{api}/api/tasks", headers=bearer(key("EdDSA", "key-2").sign(claims())))
        output = process.output()

    assert [outcome(good), outcome(unknown)] == [LISTED, UNREACHABLE]
    assert f"The key server {server.url} gave no set of keys" in output
    assert "sesame" not in output


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_an_answer_other_than_200_is_a_503(call: Call, server: KeyServer, status: int) -> None:
    """Redirects are not followed, though what lies behind them may be right."""
    with key_server(key()) as elsewhere:
        server.status, server.location = status, elsewhere.url

        assert call(key().sign(claims())) == NEVER_FETCHED
        assert elsewhere.requests == 0


def test_a_cancelled_caller_does_not_cancel_the_fetch_of_others(server: KeyServer) -> None:
    keys = KeySet(server.url)

    async def two_wait_and_one_gives_up() -> PyJWK | None:
        server.hold()
        first, second = (asyncio.create_task(keys.find("key-1")) for _ in range(2))
        await asyncio.to_thread(server.wait_until_asked)
        first.cancel()
        server.release()
        return await second

    assert asyncio.run(two_wait_and_one_gives_up()) is not None
    assert server.requests == 1


def test_others_are_served_while_the_key_server_is_asked(server: KeyServer, tmp_path: Path) -> None:
    """All in one event loop."""
    app = create_app(make_settings(server, database_url=f"sqlite:///{tmp_path}/todo.db", pool_size=1))
    server.hold()

    async def call_meanwhile() -> list[Outcome]:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            waiting = asyncio.create_task(client.get("/api/tasks", headers=bearer(key().sign(claims()))))
            await asyncio.to_thread(server.wait_until_asked)
            answers = [await client.get("/health"), await client.get("/api/tasks", headers=bearer(token_of("bob")))]
            assert not waiting.done()
            server.release()
            answers.append(await waiting)
        app.state.database.close()
        return [outcome(answer) for answer in answers]

    assert asyncio.run(call_meanwhile()) == [(200, {"status": "ok"}, None), LISTED, LISTED]
