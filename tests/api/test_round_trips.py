"""What a user of a far database waits for: round trips on the wire, counted by a proxy before PostgreSQL."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.conftest import database_name
from tests.support.proxy import Proxy
from tests.support.tokens import FRONTEND, SECRET, bearer, token_of

TASK = "/api/tasks/{id}"
REQUESTS = [
    pytest.param("GET", "/api/tasks", None, id="list"),
    pytest.param("GET", "/api/tasks?status=pending&sort=title&limit=1", None, id="page"),
    pytest.param("POST", "/api/tasks", {"title": "Another"}, id="create"),
    pytest.param("GET", TASK, None, id="get"),
    pytest.param("PUT", TASK, {"title": "Renamed", "description": None}, id="update"),
    pytest.param("PUT", TASK, {}, id="update-of-nothing"),
    pytest.param("PATCH", TASK, {"title": "Renamed"}, id="patch"),
    pytest.param("PATCH", f"{TASK}/complete", None, id="toggle"),
    pytest.param("PATCH", f"{TASK}/complete", {"completed": True}, id="complete"),
    pytest.param("DELETE", TASK, None, id="delete"),
    pytest.param("DELETE", "/api/tasks/404", None, id="delete-of-nothing"),
    pytest.param("GET", "/api/export", None, id="export"),
    pytest.param("GET", "/api/me", None, id="me"),
    pytest.param("GET", "/ready", None, id="ready"),
]


@pytest.fixture
def ada(proxy: Proxy, postgres_url: str) -> Iterator[TestClient]:
    """One connection, used once, so that the process is in its steady state."""
    settings = Settings(
        secret=SECRET, frontend_url=FRONTEND, database_url=proxy.url(database_name(postgres_url)), pool_size=1
    )
    with TestClient(create_app(settings), headers=bearer(token_of("ada"))) as client:
        client.get("/api/tasks")
        yield client


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_every_request_is_one_round_trip(ada: TestClient, proxy: Proxy, method: str, path: str, body: Any) -> None:
    task = ada.post("/api/tasks", json={"title": "First"}).json()
    proxy.reset()

    ada.request(method, path.format(**task), json=body)

    assert proxy.round_trips == 1


@pytest.mark.parametrize("path", ["/health", "/api/tasks/abc", "/api/nothing", "/api/tasks?status=unknown"])
def test_what_needs_no_database_takes_none(ada: TestClient, proxy: Proxy, path: str) -> None:
    proxy.reset()

    ada.get(path)

    assert proxy.round_trips == 0


def test_a_token_of_the_same_person_costs_nothing_more(ada: TestClient, proxy: Proxy) -> None:
    proxy.reset()

    ada.get("/api/tasks", headers=bearer(token_of("ada", exp=4102444800)))

    assert proxy.round_trips == 1
