"""A key server, an API that asks it, and a clock that stands still."""

import asyncio
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jwt import PyJWK
from starlette.testclient import TestClient

import keys as keys_module
from app import create_app
from keys import KeySet
from settings import Settings
from tests.support.tokens import FRONTEND, SECRET, Clock, KeyServer, Outcome, SigningKey, bearer, key_server, outcome

NO_KEY = "The token names no key (kid) that the issuer publishes; sign in again."
OTHER_ALGORITHM = "The token's algorithm is not that of its key."
UNREACHABLE: Outcome = (503, {"detail": "The key server cannot be reached at present; try again shortly."}, None)
NEVER_FETCHED: Outcome = (
    503,
    {"detail": "No keys could be fetched since this API started; check its BETTER_AUTH_URL and JWKS_URL."},
    None,
)
LISTED: Outcome = (200, [], None)


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
    with TestClient(create_app(settings)) as client:

        def call_with(token: str) -> Outcome:
            answer = client.get("/api/tasks", headers=bearer(token))
            assert answer.headers.get("Retry-After") == ("1" if answer.status_code == 503 else None)
            return outcome(answer)

        yield call_with


def find(keys: KeySet, kid: str = "key-1") -> PyJWK | None:
    """In an event loop of its own."""
    return asyncio.run(keys.find(kid))
