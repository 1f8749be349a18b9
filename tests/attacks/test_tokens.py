"""Each token of the corpus is refused, and makes the API ask no server but the issuer's."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import keys as keys_module
from app import create_app
from keys import INTERVAL
from settings import Settings
from tests.attacks.carriers import CARRIERS
from tests.attacks.corpus import CORPUS
from tests.attacks.forgery import Scene, seal
from tests.conftest import RowsOf
from tests.support.asgi import call_at_once
from tests.support.tokens import FRONTEND, SECRET, Clock, KeyServer, SigningKey, bearer, claims, key_server, sign

TASK = {"title": "Stolen"}
CHALLENGE = re.compile(r'Bearer error="(invalid_request|invalid_token)", error_description="([ !#-\[\]-~]+)"')

# Seconds of processor time, which is the same on a busy machine. Only what is wrong by orders of magnitude takes more.
SANE = 2.0


class Target:
    """An app, its issuer's key server, and the forger's, which lists keys that every forged token would pass with."""

    def __init__(self, folder: str, issuer: KeyServer, trap: KeyServer, clock: Clock) -> None:
        self.database_url = f"sqlite:///{folder}/todo.db"
        self.issuer, self.trap, self.clock = issuer, trap, clock
        self.scene = Scene(trap.url)
        issuer.keys, trap.keys = [*self.scene.keys.values()], [self.scene.forger]
        settings = Settings(secret=SECRET, frontend_url=FRONTEND, jwks_url=issuer.url)
        self.app: Starlette = create_app(replace(settings, database_url=self.database_url, pool_size=1))
        self.client = TestClient(self.app)

    def create_task(self, headers: Any) -> httpx2.Response:
        return self.client.post("/api/tasks", json=TASK, headers=headers)


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    """Of the key set, so that no interval ends by itself."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys_module, "time", clock)
        yield clock


@pytest.fixture(scope="module")
def target(clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with key_server() as issuer, key_server() as trap:
        target = Target(str(tmp_path_factory.mktemp("attacked")), issuer, trap, clock)
        yield target
        target.app.state.database.close()


@pytest.fixture
def refused(target: Target, rows_of: RowsOf) -> Callable[[Any], None]:
    """Try to create a task with these headers, in vain and without a trace."""

    def rows() -> list[list[tuple[Any, ...]]]:
        return [rows_of(target.database_url, f"SELECT * FROM {table}") for table in ("users", "tasks")]

    def attempt(headers: Any) -> None:
        before, asked = rows(), target.issuer.requests
        started = time.process_time()
        answer = target.create_task(headers)
        took = time.process_time() - started
        challenge = CHALLENGE.fullmatch(answer.headers["WWW-Authenticate"])
        assert challenge
        assert (answer.status_code, answer.json()) == (401, {"detail": challenge[2]})
        assert rows() == before
        assert target.trap.requests == 0
        assert target.issuer.requests <= max(asked, 1)
        assert took < SANE

    return attempt


@pytest.fixture(scope="module", autouse=True)
def a_good_token_gets_in(target: Target) -> None:
    """The control: without it, every test here could pass for the wrong reason."""
    for token in (sign(claims()), *(seal(key, claims()) for key in target.scene.keys.values())):
        assert target.client.get("/api/tasks", headers=bearer(token)).status_code == 200


@pytest.mark.parametrize("name", CORPUS)
def test_a_bad_token_is_refused(target: Target, refused: Callable[[Any], None], name: str) -> None:
    token = CORPUS[name](target.scene)

    refused({b"Authorization": b"Bearer " + token.encode("utf-8", "surrogatepass")})


@pytest.mark.parametrize("name", CARRIERS)
def test_a_good_token_sent_in_a_bad_way_is_refused(refused: Callable[[Any], None], name: str) -> None:
    token = sign(claims())

    refused([(header, value.replace("{}", token).encode()) for header, value in CARRIERS[name]])


def test_a_storm_of_forged_keys_reaches_the_key_server_once_in_an_interval(target: Target) -> None:
    """Half of the forgers change the key with each token, the others repeat themselves. A new key is found."""
    tokens = [seal(target.scene.forger, claims(), kid=f"forged-{n % 100}", jku=target.trap.url) for n in range(150)]
    calls = [{"method": "POST", "url": "/api/tasks", "json": TASK, "headers": bearer(token)} for token in tokens]
    rotated = SigningKey("EdDSA", "rotated")
    good = {"method": "GET", "url": "/api/tasks", "headers": bearer(seal(rotated, claims()))}
    target.clock.now += INTERVAL
    before = target.issuer.requests

    first = call_at_once(target.app, [*calls, good])
    target.issuer.keys.append(rotated)
    target.clock.now += INTERVAL
    *second, found = call_at_once(target.app, [*calls, good])

    assert {answer.status_code for answer in (*first, *second)} == {401}
    assert (found.status_code, found.json()) == (200, [])
    assert target.issuer.requests == before + 2
    assert target.trap.requests == 0
