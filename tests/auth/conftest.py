"""An API and a verifier with the shared secret; and no token in any log."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

import auth
from app import create_app
from auth import TokenVerifier, User
from keys import KeySet
from settings import Settings
from tests.support.tokens import FRONTEND, SECRET

CLIENT = ("httpx2", "httpcore2")


@pytest.fixture(autouse=True)
def no_token_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A token begins with `{"` in base64url; only the tests' own client, which logs what it asks for, may tell."""
    caplog.set_level(logging.DEBUG)
    yield
    ours = [record.getMessage() for record in caplog.get_records("call") if not record.name.startswith(CLIENT)]
    assert [message for message in ours if "eyJ" in message] == []


@pytest.fixture
def api(tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(secret=SECRET, frontend_url=FRONTEND, database_url=f"sqlite:///{tmp_path}/todo.db", pool_size=1)
    app = create_app(settings)
    yield TestClient(app)
    app.state.database.close()


def make_verifier(**changes: Any) -> TokenVerifier:
    settings = Settings(**{"secret": SECRET, "frontend_url": FRONTEND, **changes})
    return TokenVerifier(settings, KeySet(settings.keys_url))


@pytest.fixture
def verify() -> Callable[[str], User]:
    verifier = make_verifier()
    return lambda token: asyncio.run(verifier.verify(token))


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stop the clock, for PyJWT and for us."""

    def stop_at(now: float) -> None:
        class Stopped(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> "Stopped":
                return cls.fromtimestamp(now, tz)

        monkeypatch.setattr("jwt.api_jwt.datetime", Stopped)
        monkeypatch.setattr(auth, "time", SimpleNamespace(time=lambda: now))

    return stop_at
