"""What HTTP asks of every address: methods, slashes, health, and errors that say nothing of the inside."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import store
from app import create_app
from database import DatabaseUnavailable
from settings import Settings
from tests.support.asgi import Exchange
from tests.support.tokens import FRONTEND, SECRET, bearer, token_of

pytestmark = pytest.mark.database("any")

NOWHERE = {"detail": "There is nothing at this address."}
DEFECT = {"detail": "Something is wrong on our side; it has been logged."}
UNREACHABLE = {"detail": "The database cannot be reached at present; try again shortly."}
PASSWORD = "correct-horse"

ENDPOINTS = [
    pytest.param("GET", "/api/tasks", "store.list_tasks", id="list"),
    pytest.param("POST", "/api/tasks", "store.create_task", id="create"),
    pytest.param("GET", "/api/tasks/1", "store.get_task", id="get"),
    pytest.param("PUT", "/api/tasks/1", "store.update_task", id="update"),
    pytest.param("PATCH", "/api/tasks/1/complete", "store.toggle_task", id="toggle"),
    pytest.param("DELETE", "/api/tasks/1", "store.delete_task", id="delete"),
    pytest.param("GET", "/api/export", "queries.transfer.list_oldest", id="export"),
    pytest.param("POST", "/api/import", "queries.transfer.import_tasks", id="import"),
    pytest.param("GET", "/api/me", "queries.people.get_person", id="me"),
    pytest.param("DELETE", "/api/me", "queries.people.delete_person", id="delete-me"),
    pytest.param("GET", "/ready", "database.Database.ready", id="ready"),
]


def fail(*_: object) -> None:
    raise RuntimeError(f"{PASSWORD} in the inside")


@pytest.fixture
def cut_off() -> Starlette:
    """An app whose database is behind a closed port."""
    url = f"postgresql://ada:{PASSWORD}@127.0.0.1:1/todo"
    return create_app(Settings(secret=SECRET, frontend_url=FRONTEND, database_url=url))


@pytest.fixture
def stranded(cut_off: Starlette) -> Iterator[TestClient]:
    """Ada's client of the app without its database."""
    with TestClient(cut_off, headers=bearer(token_of("ada"))) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body"), [("/health", {"status": "ok"}), ("/ready", {"status": "ready"})], ids=["health", "ready"]
)
def test_the_probes_answer_without_a_token(client: TestClient, path: str, body: dict[str, str]) -> None:
    response = client.get(path)

    assert (response.status_code, response.json()) == (200, body)


@pytest.mark.parametrize(
    "path",
    [
        *["/", "/api", "/tasks", "/health/", "/ready/now", "/docs/", "//api/tasks", "/API/tasks"],
        *["/api/", "/api/nothing", "/api/tasks//", "/api//tasks", "/api/tasks/1/incomplete", "/api/tasks/1/complete/2"],
        *["/health%0A", "/api/tasks%0A", "/api/tasks/1/complete%0A"],
    ],
)
def test_an_unknown_address_is_not_found(ada: TestClient, path: str) -> None:
    response = ada.post(f"http://testserver{path}")

    assert (response.status_code, response.json()) == (404, NOWHERE)


@pytest.mark.parametrize(
    "path", ["/api/", "/api/nothing", "/api/tasks/abc", "/api//", "/api/%0A", "/api/tasks%0A/%0Ax"]
)
def test_unknown_paths_and_methods_below_api_are_401_without_a_token(client: TestClient, path: str) -> None:
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"]

    assert {method: client.request(method, path).status_code for method in methods} == dict.fromkeys(methods, 401)


@pytest.mark.parametrize(
    ("path", "allow", "refused"),
    [
        pytest.param("/health", "GET, HEAD", "POST PUT PATCH DELETE OPTIONS BREW", id="health"),
        pytest.param("/ready", "GET, HEAD", "POST PUT PATCH DELETE OPTIONS BREW", id="ready"),
        pytest.param("/api/tasks", "DELETE, GET, HEAD, PATCH, POST", "PUT OPTIONS BREW", id="list"),
        pytest.param("/api/tasks/", "DELETE, GET, HEAD, PATCH, POST", "PUT OPTIONS BREW", id="list-slash"),
        pytest.param("/api/tasks/1", "DELETE, GET, HEAD, PATCH, PUT", "POST OPTIONS BREW", id="task"),
        pytest.param("/api/export", "GET, HEAD", "POST PUT PATCH DELETE OPTIONS BREW", id="export"),
        pytest.param("/api/import", "POST", "GET HEAD PUT PATCH DELETE OPTIONS BREW", id="import"),
        pytest.param("/api/me", "DELETE, GET, HEAD", "POST PUT PATCH OPTIONS BREW", id="me"),
        pytest.param("/api/tasks/1/complete", "PATCH", "GET HEAD POST PUT DELETE OPTIONS BREW", id="toggle"),
    ],
)
def test_another_method_is_refused_with_those_allowed(ada: TestClient, path: str, allow: str, refused: str) -> None:
    methods = refused.split()

    responses = [ada.request(method, path) for method in methods]

    assert [response.status_code for response in responses] == [405] * len(methods)
    assert {response.headers["allow"] for response in responses} == {allow}
    detail = f"This address allows only these methods: {allow}."
    assert [response.json() for response in responses if response.request.method != "HEAD"] == [
        {"detail": detail} for method in methods if method != "HEAD"
    ]


def test_a_path_that_names_no_task_is_404_for_every_method(ada: TestClient) -> None:
    assert {ada.request(method, "/api/tasks/abc").status_code for method in ("GET", "POST", "OPTIONS", "BREW")} == {404}


def test_a_trailing_slash_makes_no_difference(ada: TestClient) -> None:
    """Nor is it redirected, which behind a TLS proxy breaks browsers."""
    created = ada.post("/api/tasks/", json={"title": "Write"}, follow_redirects=False)
    path = created.headers["location"]

    answers = [
        ada.get("/api/tasks/", follow_redirects=False),
        ada.get(f"{path}/", follow_redirects=False),
        ada.put(f"{path}/", json={}, follow_redirects=False),
        ada.patch(f"{path}/complete/", follow_redirects=False),
        ada.delete(f"{path}/", follow_redirects=False),
    ]

    assert path == f"/api/tasks/{created.json()['id']}"
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 204]
    assert [answer.json() for answer in answers[:3]] == [[created.json()], created.json(), created.json()]


@pytest.mark.parametrize("path", ["/health", "/ready", "/api/tasks", "/api/tasks/404", "/api/nothing"])
def test_head_is_get_without_the_body(ada: TestClient, path: str) -> None:
    head, get = ada.head(path), ada.get(path)

    assert (head.status_code, head.content) == (get.status_code, b"")
    assert {**head.headers, "x-request-id": ""} == {**get.headers, "x-request-id": ""}


@pytest.mark.parametrize("path", ["/health", "/api/changes", "/api/nothing", "/nothing"])
def test_no_answer_may_be_kept_or_taken_for_another_type(ada: TestClient, path: str) -> None:
    response = ada.get(path)

    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("method", "path", "function"), ENDPOINTS)
def test_a_defect_is_logged_and_says_nothing_of_the_inside(
    ada: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    function: str,
) -> None:
    monkeypatch.setattr(function, fail)

    response = ada.request(method, path, json={"title": "Write"}, headers={"X-Request-ID": "the-request"})

    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (response.status_code, response.json()) == (500, DEFECT)
    assert record.getMessage() == "500 for request_id=the-request"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)


def test_a_list_that_breaks_off_cannot_pass_for_a_whole_one(
    app: Starlette, ada: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is left to cut the connection, since 200 is out already."""
    for _ in range(3):
        ada.post("/api/tasks", json={"title": "Write"})
    monkeypatch.setattr("endpoints.tasks.FIRST_ROWS", 1)
    calls: Iterator[Any] = iter([store.list_tasks, fail])
    monkeypatch.setattr("store.list_tasks", lambda *arguments: next(calls)(*arguments))
    exchange = Exchange("GET", "/api/tasks", bearer(token_of("ada")))

    with pytest.raises(RuntimeError, match="in the inside"):
        exchange.run(app)

    assert [message.get("more_body") for message in exchange.sent] == [None, True]


def test_a_list_that_the_database_leaves_half_way_is_cut_off_without_a_traceback(
    app: Starlette, ada: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server cuts the connection when the app returns and the answer is not complete."""
    for _ in range(3):
        ada.post("/api/tasks", json={"title": "Write"})
    monkeypatch.setattr("endpoints.tasks.FIRST_ROWS", 1)

    async def away(*_: Any) -> None:
        raise DatabaseUnavailable("it is away")

    calls: Iterator[Any] = iter([store.list_tasks, away])
    monkeypatch.setattr("store.list_tasks", lambda *arguments: next(calls)(*arguments))
    exchange = Exchange("GET", "/api/tasks", bearer(token_of("ada")))
    exchange.run(app)

    assert [message.get("more_body") for message in exchange.sent] == [None, True]
    (record,) = [record for record in caplog.records if record.name == "todo.errors"]
    assert record.getMessage().endswith("it is away")
    assert record.exc_info is None


@pytest.mark.parametrize(("method", "path", "_function"), ENDPOINTS)
def test_a_database_that_is_away_is_a_503_to_try_again(
    stranded: TestClient, method: str, path: str, _function: str
) -> None:
    response = stranded.request(method, path, json={"title": "Write"})

    assert (response.status_code, response.json()) == (503, UNREACHABLE)
    assert response.headers["retry-after"] == "1"


def test_liveness_does_not_ask_for_the_database(stranded: TestClient) -> None:
    assert stranded.get("/health").status_code == 200


def test_a_database_that_is_away_at_the_start_is_told_without_its_password(
    stranded: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    stranded.get("/api/tasks", headers={"X-Request-ID": "the-request"})

    warnings = [record.getMessage() for record in caplog.get_records("setup") + caplog.get_records("call")]
    assert any(line.startswith("Started without the database; requests get a 503") for line in warnings)
    assert any(line.startswith("503 for request_id=the-request: connection to server at") for line in warnings)
    assert PASSWORD not in "".join(warnings)


def test_a_query_that_is_no_utf_8_does_not_turn_503_into_500(cut_off: Starlette) -> None:
    exchange = Exchange("GET", "/api/tasks", bearer(token_of("ada")), query=b"status=\xff")

    assert exchange.run(cut_off)[0]["status"] == 503


@pytest.mark.usefixtures("client")
def test_a_caller_who_hangs_up_gets_no_answer_and_is_no_defect(
    app: Starlette, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    exchange = Exchange("POST", "/api/tasks", bearer(token_of("ada")))

    sent = exchange.run(app, [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    assert sent == []
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert caplog.messages[0].startswith("POST /api/tasks 499 ")


@pytest.mark.parametrize("headers", [{}, bearer(token_of("ada"))], ids=["stranger", "ada"])
@pytest.mark.parametrize("path", ["/api/tasks", "/health", "/nothing"])
def test_a_websocket_is_turned_away(client: TestClient, path: str, headers: dict[str, Any]) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(path, headers=headers):
        pass
