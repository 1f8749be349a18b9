"""Tokens signed with Better Auth's own keys, and the key server in all its moods."""

import asyncio
import functools
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWK
from starlette.testclient import TestClient

import keys as keys_module
from app import create_app
from auth import Refused, TokenVerifier, User
from keys import COOLDOWN, LIFETIME, KeyServerUnavailable, KeySet
from settings import Settings
from tests.conftest import RowsOf
from tests.tokens import (
    FRONTEND,
    PRIVATE_KEYS,
    SECRET,
    Clock,
    KeyServer,
    Outcome,
    SigningKey,
    bearer,
    claims,
    forge,
    key_server,
    outcome,
    refusal,
    token_of,
)

NO_KEY = "The token names no key (kid) that the issuer publishes; sign in again."
OTHER_ALGORITHM = "The token's algorithm is not that of its key."
NO_JWT = "The token is no JSON Web Token."
SIGNATURE = "The token's signature does not match; it was signed with another secret or key."
NO_SUBJECT = "The token names no user: its subject (sub) must be 1 to 255 characters."
UNREACHABLE: Outcome = (503, {"detail": "The key server cannot be reached at present; try again shortly."}, None)
LISTED: Outcome = (200, [], None)

ADA = User("ada", "ada@example.com", "Ada")


@functools.cache
def key(algorithm: str = "EdDSA", kid: str = "key-1") -> SigningKey:
    return SigningKey(algorithm, kid)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(keys_module, "time", clock)
    return clock


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server(key()) as server:
        yield server


def make_settings(server: KeyServer, **changes: Any) -> Settings:
    return Settings(**{"secret": SECRET, "frontend_url": FRONTEND, "jwks_url": server.url, **changes})


Call = Callable[[str], Outcome]


@pytest.fixture
def call(server: KeyServer, tmp_path: Path) -> Iterator[Call]:
    """List the tasks with a token, at an API of this key server."""
    settings = make_settings(server, database_url=f"sqlite:///{tmp_path}/todo.db", pool_size=1)
    app = create_app(settings)
    client = TestClient(app)

    def call_with(token: str) -> Outcome:
        answer = client.get("/api/tasks", headers=bearer(token))
        assert answer.headers.get("Retry-After") == ("1" if answer.status_code == 503 else None)
        return outcome(answer)

    yield call_with
    app.state.database.close()


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
def test_each_algorithm_of_better_auth_is_taken(
    call: Call, server: KeyServer, rows_of: RowsOf, tmp_path: Path, algorithm: str
) -> None:
    server.keys = [key(algorithm, algorithm)]

    assert call(key(algorithm, algorithm).sign(claims())) == LISTED
    stored = rows_of(f"sqlite:///{tmp_path}/todo.db", "SELECT id, email, name FROM users")
    assert stored == [("ada", "ada@example.com", "Ada")]


def test_keys_are_below_the_address_of_better_auth(server: KeyServer) -> None:
    origin = server.url.removesuffix("/api/auth/jwks")
    settings = make_settings(server, frontend_url=origin, jwks_url="")
    verifier = TokenVerifier(settings, KeySet(settings.keys_url))

    assert asyncio.run(verifier.verify(key().sign(claims(iss=origin, aud=origin)))) == ADA


def pem(signing_key: SigningKey) -> bytes:
    public: bytes = signing_key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public


def somebody_elses(issuer: str = FRONTEND, audience: str = FRONTEND) -> str:
    wrong, verb = (issuer, "was issued by") if issuer != FRONTEND else (audience, "is for")
    return f"The token {verb} {wrong}, but {FRONTEND} is expected."


UNDER_RSA = {"alg": "HS256", "kid": "rsa"}
SESSION_CACHE = "better-auth:session-cache"
BAD_TOKENS: dict[str, tuple[Callable[[], str], str]] = {
    "iss-wrong": (lambda: key().sign(claims(iss="https://example.com")), somebody_elses("https://example.com")),
    "iss-missing": (lambda: key().sign(claims(iss=None)), somebody_elses("nobody")),
    "aud-wrong": (lambda: key().sign(claims(aud="my-oidc-client")), somebody_elses(audience="my-oidc-client")),
    "aud-missing": (lambda: key().sign(claims(aud=None)), somebody_elses(audience="nobody")),
    "aud-list": (lambda: key().sign(claims(aud=["a", "b"])), somebody_elses(audience="somebody else")),
    "session-cache": (
        lambda: key().sign(claims(aud=SESSION_CACHE), typ="better-auth.session-cache+jwt"),
        somebody_elses(audience=SESSION_CACHE),
    ),
    "user_id-for-sub": (lambda: key().sign(claims(sub=None, user_id="ada")), NO_SUBJECT),
    "id-for-sub": (lambda: key().sign(claims(sub=None)), NO_SUBJECT),
    "exp-missing": (lambda: key().sign(claims(exp=None)), "The token has no expiry (exp)."),
    "exp-past": (lambda: key().sign(claims(exp=1)), "The token has expired; get a new one."),
    "kid-missing": (lambda: forge(claims(), {"alg": "EdDSA"}), NO_KEY),
    "kid-unknown": (lambda: key().sign(claims(), kid="key-2"), NO_KEY),
    "kid-empty": (lambda: key().sign(claims(), kid=""), NO_KEY),
    "kid-number": (lambda: forge(claims(), {"alg": "EdDSA", "kid": 1}), NO_JWT),
    "kid-null": (lambda: forge(claims(), {"alg": "EdDSA", "kid": None}), NO_JWT),
    "kid-list": (lambda: forge(claims(), {"alg": "EdDSA", "kid": ["key-1"]}), NO_JWT),
    "other-key": (lambda: SigningKey("EdDSA", "key-1").sign(claims()), SIGNATURE),
    "other-family": (lambda: key("ES256").sign(claims()), OTHER_ALGORITHM),
    "same-key-other-algorithm": (lambda: key("RS256", "rsa").sign(claims(), alg="PS256"), OTHER_ALGORITHM),
    "secret-under-EdDSA": (lambda: forge(claims(), {"alg": "EdDSA", "kid": "key-1"}), SIGNATURE),
    "public-key-as-secret": (lambda: forge(claims(), UNDER_RSA, pem(key("RS256", "rsa"))), SIGNATURE),
    "public-x-as-secret": (lambda: forge(claims(), secret=key().public["x"]), SIGNATURE),
}


@pytest.mark.parametrize(("token", "detail"), BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_bad_token_is_refused(call: Call, server: KeyServer, token: Callable[[], str], detail: str) -> None:
    server.keys = [key(), key("RS256", "rsa")]

    assert call(token()) == refusal(detail)


def test_an_asymmetric_token_may_be_for_several(call: Call) -> None:
    assert call(key().sign(claims(aud=["https://example.com", FRONTEND]))) == LISTED


NOT_FOR_US: dict[str, dict[str, Any]] = {
    "encryption": {"use": "enc"},
    "algorithm-not-taken": {"alg": "Ed448"},
    "without-kid": {"kid": None},
    "no-key": {"x": "?"},
}


@pytest.mark.parametrize("changes", NOT_FOR_US.values(), ids=NOT_FOR_US)
def test_a_listed_key_that_is_not_for_us_is_passed_over(call: Call, server: KeyServer, changes: dict[str, Any]) -> None:
    key_2 = key("EdDSA", "key-2")
    server.listed = [{**key_2.public, **changes}, key().public]

    assert call(key_2.sign(claims())) == refusal(NO_KEY)
    assert call(key().sign(claims())) == LISTED


def test_a_listed_secret_signs_nothing(call: Call, server: KeyServer) -> None:
    """Its algorithm would be HS256, for which the shared secret alone counts."""
    server.listed = [{"kty": "oct", "k": "YWJj", "alg": "HS256", "kid": "key-1"}]

    assert call(forge(claims(), {"alg": "HS256", "kid": "key-1"}, "abc")) == refusal(SIGNATURE)
    assert call(key().sign(claims())) == refusal(NO_KEY)


def test_a_new_key_is_fetched_and_the_old_one_goes_on(call: Call, server: KeyServer, clock: Clock) -> None:
    old, new = key(), key("EdDSA", "key-2")
    assert call(old.sign(claims())) == LISTED
    server.keys = [new, old]
    clock.now += COOLDOWN

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
        self.clock.now += COOLDOWN
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

    assert call(key().sign(claims())) == UNREACHABLE
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


NONSENSE = [b"", b"<html>", b"\xff", b"[]", b"null", b'"keys"', b"{}", b"[" * 100_000, b'{"keys": null}']
NONSENSE += [
    b'{"keys": []}',
    b'{"keys": {}}',
    b'{"keys": [5]}',
    b'{"keys": [{}]}',
    b'{"keys": [{"kty": 5, "alg": []}]}',
]


@pytest.mark.parametrize("body", NONSENSE, ids=lambda body: body[:40].decode(errors="replace"))
def test_a_key_server_that_says_nonsense_is_a_503(call: Call, server: KeyServer, clock: Clock, body: bytes) -> None:
    """Until it comes to its senses; the keys that it gave before go on."""
    server.body = body
    assert call(key().sign(claims())) == UNREACHABLE
    server.body = None
    assert call(key().sign(claims())) == UNREACHABLE
    clock.now += COOLDOWN
    assert call(key().sign(claims())) == LISTED
    server.body = body
    clock.now += LIFETIME + 1
    assert call(key("EdDSA", "key-2").sign(claims())) == UNREACHABLE
    assert call(key().sign(claims("bob"))) == LISTED
    assert server.requests == 3


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_a_key_server_that_answers_no_200_is_a_503(call: Call, server: KeyServer, status: int) -> None:
    """Redirects are not followed, though what lies behind them may be right."""
    with key_server(key()) as elsewhere:
        server.status, server.location = status, elsewhere.url

        assert call(key().sign(claims())) == UNREACHABLE
        assert elsewhere.requests == 0


@pytest.mark.parametrize("mood", ["silent", "head", "body"])
def test_a_slow_key_server_is_given_up_and_asked_again(server: KeyServer, clock: Clock, mood: str) -> None:
    """One that trickles keeps each read within its timeout, but not the whole."""
    keys = KeySet(server.url, timeout=1)
    if mood == "silent":
        server.hold()
    else:
        server.trickles = mood

    with pytest.raises(KeyServerUnavailable):
        asyncio.run(keys.find("key-1"))
    server.release()
    server.trickles = ""
    clock.now += COOLDOWN
    assert asyncio.run(keys.find("key-1")) is not None


def test_a_slow_lookup_of_the_name_is_given_up(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing bounds what the system's resolver takes; who waits for the keys is not held by it."""
    answered, lookup = threading.Event(), socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        answered.wait()
        return lookup(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    keys = KeySet(server.url, timeout=0.1)
    try:
        with pytest.raises(KeyServerUnavailable, match="too slow"):
            asyncio.run(keys.find("key-1"))
    finally:
        answered.set()
        keys._executor.shutdown()


def test_forged_keys_reach_the_key_server_once_in_the_cooldown(server: KeyServer, clock: Clock) -> None:
    """However many callers wait for it at once, and whether it answers or not."""
    keys = KeySet(server.url)

    async def storm() -> list[Any]:
        return await asyncio.gather(*(keys.find(f"forged-{n}") for n in range(100)), return_exceptions=True)

    for requests, status in ((1, 200), (2, 500), (3, 200)):
        server.status = status
        for _ in range(2):
            found = asyncio.run(storm())
            assert {type(each) for each in found} == {type(None) if status == 200 else KeyServerUnavailable}
            assert server.requests == requests
            clock.now += COOLDOWN / 2


def test_one_who_gives_up_takes_the_keys_from_nobody(server: KeyServer) -> None:
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
