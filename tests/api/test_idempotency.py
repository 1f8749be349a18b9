"""Idempotency-Key: a request that is sent again has its effect once, and gets the first answer again."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app import create_app
from queries import idempotency
from settings import Settings
from tests.conftest import Rows
from tests.support.tokens import bearer, token_of

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
OTHER_KEY = {"Idempotency-Key": "another"}
REUSED = {
    "detail": "This Idempotency-Key was used for another request; make a new one for each request, and keep it for "
    "retries."
}
MILK = {"title": "Milk", "description": "Two litres", "completed": True, "due_date": "2026-01-31"}

Send = Callable[[TestClient, int], httpx2.Response]

# Each request that may have a key, and does something the second time when it has none.
REQUESTS: dict[str, Send] = {
    "create": lambda ada, _: ada.post("/api/tasks", json=MILK, headers=KEY),
    "create with defaults": lambda ada, _: ada.post("/api/tasks", json={"title": "Tea"}, headers=KEY),
    "put": lambda ada, id_: ada.put(f"/api/tasks/{id_}", json={"title": "Tea", "due_date": None}, headers=KEY),
    "patch": lambda ada, id_: ada.patch(f"/api/tasks/{id_}", json={"description": None}, headers=KEY),
    "patch of nothing": lambda ada, id_: ada.patch(f"/api/tasks/{id_}", json={}, headers=KEY),
    "toggle": lambda ada, id_: ada.patch(f"/api/tasks/{id_}/complete", headers=KEY),
    "complete": lambda ada, id_: ada.patch(f"/api/tasks/{id_}/complete", json={"completed": True}, headers=KEY),
}


def create(client: TestClient, **values: object) -> dict[str, Any]:
    answer = client.post("/api/tasks", json={"title": "Milk", **values})
    assert answer.status_code == 201
    return dict(answer.json())


@pytest.fixture(params=list(REQUESTS.values()), ids=list(REQUESTS))
def send(request: pytest.FixtureRequest) -> Send:
    found: Send = request.param
    return found


def test_a_request_that_is_sent_again_gets_the_first_answer_again(ada: TestClient, rows: Rows, send: Send) -> None:
    id_ = create(ada)["id"]
    first = send(ada, id_)
    before = rows("SELECT * FROM tasks ORDER BY id")
    again = send(ada, id_)

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers.get("location") == first.headers.get("location")
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert rows("SELECT * FROM tasks ORDER BY id") == before


def test_the_first_answer_has_what_one_without_a_key_has(ada: TestClient, send: Send) -> None:
    id_ = create(ada)["id"]
    answer = send(ada, id_)

    assert ada.get(f"/api/tasks/{answer.json()['id']}").json() == answer.json()


def test_the_first_answer_is_kept_when_the_task_changes_and_goes(ada: TestClient, rows: Rows) -> None:
    task = ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY).json()
    ada.put(f"/api/tasks/{task['id']}", json={"title": "Tea"})
    assert ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY).json() == task
    ada.delete(f"/api/tasks/{task['id']}")
    again = ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY)

    assert (again.status_code, again.json()) == (201, task)
    assert rows("SELECT count(*) FROM tasks") == [(0,)]


@pytest.mark.parametrize(
    "other",
    [
        lambda ada, _: ada.post("/api/tasks", json={"title": "Tea"}, headers=KEY),
        lambda ada, id_: ada.patch(f"/api/tasks/{id_}", json={"title": "Milk"}, headers=KEY),
        lambda ada, id_: ada.put(f"/api/tasks/{id_}", json={"title": "Milk"}, headers=KEY),
        lambda ada, id_: ada.patch(f"/api/tasks/{id_}/complete", headers=KEY),
    ],
    ids=["other body", "other method and path", "put", "toggle"],
)
def test_a_key_of_another_request_is_refused(ada: TestClient, rows: Rows, other: Send) -> None:
    id_ = create(ada)["id"]
    first = ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY)
    before = rows("SELECT * FROM tasks ORDER BY id")
    answer = other(ada, id_)

    assert (first.status_code, answer.status_code, answer.json()) == (201, 422, REUSED)
    assert rows("SELECT * FROM tasks ORDER BY id") == before


def test_a_request_for_no_task_is_answered_alike_again_and_leaves_its_key_free(ada: TestClient, rows: Rows) -> None:
    id_ = create(ada)["id"]
    nowhere = [ada.patch(f"/api/tasks/{id_ + 1}", json={"title": "Tea"}, headers=KEY) for _ in range(2)]
    other = ada.patch(f"/api/tasks/{id_}", json={"title": "Tea"}, headers=KEY)

    assert [answer.status_code for answer in nowhere] == [404, 404]
    assert other.status_code == 200
    assert rows("SELECT title FROM tasks") == [("Tea",)]


def test_a_key_of_an_answer_that_was_an_error_takes_effect_once_later(
    ada: TestClient, settings: Settings, rows: Rows
) -> None:
    """Sent many times at once, by apps that know nothing of each other."""
    id_ = create(ada)["id"] + 1
    assert ada.patch(f"/api/tasks/{id_}/complete", headers=KEY).status_code == 404
    assert create(ada)["id"] == id_

    async def all_at_once() -> list[httpx2.Response]:
        transports = [httpx2.ASGITransport(create_app(settings)) for _ in range(2)]
        headers = {**bearer(token_of("ada")), **KEY}
        clients = [httpx2.AsyncClient(transport=each, base_url="http://api", headers=headers) for each in transports]
        calls = (client.patch(f"/api/tasks/{id_}/complete") for client in clients * 5)
        answers: list[httpx2.Response] = await asyncio.gather(*calls)
        for client in clients:
            await client.aclose()
        return answers

    answers = asyncio.run(all_at_once())

    assert {(answer.status_code, answer.json()["completed"]) for answer in answers} == {(200, True)}
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert [bool(row[0]) for row in rows(f"SELECT completed FROM tasks WHERE id = {id_}")] == [True]


def test_a_change_with_a_key_after_the_user_was_deleted_finds_no_task(ada: TestClient, rows: Rows) -> None:
    id_ = create(ada)["id"]
    rows("DELETE FROM users")

    assert ada.patch(f"/api/tasks/{id_}", json={"title": "Tea"}, headers=KEY).status_code == 404
    assert ada.patch(f"/api/tasks/{id_}/complete", headers=OTHER_KEY).status_code == 404


def test_an_answer_that_is_forgotten_while_it_is_looked_for_is_a_503(
    ada: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.get("/api/tasks")

    async def nothing(*_: object) -> tuple[()]:
        return ()

    monkeypatch.setattr("database.Caller.execute", nothing)
    answer = ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_key_belongs_to_one_person(ada: TestClient, bob: TestClient) -> None:
    task = ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY).json()
    answer = bob.post("/api/tasks", json={"title": "Milk"}, headers=KEY)

    assert answer.status_code == 201
    assert answer.json()["id"] != task["id"]
    assert "idempotency-replayed" not in answer.headers


@pytest.mark.parametrize(
    "key", ["", " ", "a b", "a\tb", "é", "x" * 256], ids=["empty", "blank", "space", "tab", "letter", "long"]
)
@pytest.mark.database("any")
def test_a_bad_key_is_refused(ada: TestClient, rows: Rows, key: str) -> None:
    answer = ada.post("/api/tasks", json={"title": "Milk"}, headers={b"Idempotency-Key": key.encode("latin-1")})

    assert answer.status_code == 400
    assert answer.json() == {
        "detail": "Idempotency-Key must be one key of 1 to 255 visible ASCII characters, such as a UUID."
    }
    assert rows("SELECT count(*) FROM tasks") == [(0,)]


@pytest.mark.database("any")
def test_two_keys_are_refused(ada: TestClient) -> None:
    answer = ada.post("/api/tasks", json={"title": "Milk"}, headers=[*KEY.items(), *OTHER_KEY.items()])

    assert answer.status_code == 400


@pytest.mark.database("any")
@pytest.mark.parametrize("key", ["!", '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "~" * 255, "'; DROP TABLE tasks; --%s"])
def test_any_visible_characters_are_a_key(ada: TestClient, rows: Rows, key: str) -> None:
    key = key.replace(" ", "_")
    answers = [ada.post("/api/tasks", json=MILK, headers={"Idempotency-Key": key}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert rows("SELECT count(*) FROM tasks") == [(1,)]


def test_a_request_that_is_invalid_uses_no_key_up(ada: TestClient) -> None:
    assert ada.post("/api/tasks", json={"title": ""}, headers=KEY).status_code == 400
    assert ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY).status_code == 201


def test_many_at_once_have_their_effect_once(settings: Settings, rows: Rows) -> None:
    """Two processes' apps, each with ten requests under way."""

    async def all_at_once(send: Callable[[httpx2.AsyncClient], Any]) -> list[httpx2.Response]:
        transports = [httpx2.ASGITransport(create_app(settings)) for _ in range(2)]
        headers = {**bearer(token_of("ada")), **KEY}
        clients = [httpx2.AsyncClient(transport=each, base_url="http://api", headers=headers) for each in transports]
        answers: list[httpx2.Response] = await asyncio.gather(*(send(client) for client in clients * 10))
        for client in clients:
            await client.aclose()
        return answers

    created = asyncio.run(all_at_once(lambda client: client.post("/api/tasks", json={"title": "Milk"})))
    id_ = created[0].json()["id"]
    rows("DELETE FROM idempotency_keys")
    toggled = asyncio.run(all_at_once(lambda client: client.patch(f"/api/tasks/{id_}/complete")))

    for answers, status in ((created, 201), (toggled, 200)):
        assert {(answer.status_code, answer.content) for answer in answers} == {(status, answers[0].content)}
        assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert [bool(row[0]) for row in rows("SELECT completed FROM tasks")] == [True]


def test_a_key_is_kept_for_a_day(ada: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY)
    monkeypatch.setattr(idempotency, "KEPT", timedelta(hours=-1))
    answer = ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY)

    assert "idempotency-replayed" not in answer.headers
    assert rows("SELECT count(*) FROM tasks") == [(2,)]
    assert rows("SELECT count(*) FROM idempotency_keys") == [(1,)]


def test_the_newest_keys_of_a_person_are_kept(
    ada: TestClient, bob: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob.post("/api/tasks", json={"title": "Milk"}, headers=KEY)
    monkeypatch.setattr(idempotency, "KEPT_KEYS", 3)
    for number in range(6):
        ada.post("/api/tasks", json={"title": "Milk"}, headers={"Idempotency-Key": f"key-{number}"})

    kept = rows("SELECT key FROM idempotency_keys WHERE user_id = 'ada' ORDER BY key")
    assert kept == [("key-2",), ("key-3",), ("key-4",), ("key-5",)]
    assert rows("SELECT count(*) FROM idempotency_keys WHERE user_id = 'bob'") == [(1,)]


def test_keys_go_with_their_person(ada: TestClient, rows: Rows) -> None:
    ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY)
    rows("DELETE FROM users")

    assert rows("SELECT count(*) FROM idempotency_keys") == [(0,)]
    assert ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY).status_code == 201


def test_an_answer_that_was_given_is_given_again_beyond_the_task_limit(settings: Settings) -> None:
    limited = create_app(Settings(secret=settings.secret, database_url=settings.database_url, task_limit=1))
    with TestClient(limited, headers=bearer(token_of("ada"))) as ada:
        first = ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY)
        again = ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY)
        more = [ada.post("/api/tasks", json={"title": "Milk"}, headers=headers) for headers in (OTHER_KEY, {})]

    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert [answer.status_code for answer in more] == [403, 403]


def test_no_batch_that_fails_leaves_anything(ada: TestClient, rows: Rows) -> None:
    """The last step but one fails, on a table without one of its columns."""
    ada.get("/api/tasks")
    rows("ALTER TABLE idempotency_keys DROP COLUMN due_date")
    answer = ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY)

    assert answer.status_code == 503
    assert rows("SELECT count(*) FROM tasks") == [(0,)]
    assert rows("SELECT count(*) FROM idempotency_keys") == [(0,)]
    assert ada.get("/health").status_code == 200


def test_errors_push_no_answer_out_and_bind_no_key(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "KEPT_KEYS", 2)
    first = ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY)
    for number in range(6):
        missing = ada.patch("/api/tasks/404", json={"title": "Milk"}, headers={"Idempotency-Key": f"key-{number}"})
        assert missing.status_code == 404
    again = ada.post("/api/tasks", json={"title": "Milk"}, headers=KEY)
    other = ada.post("/api/tasks", json={"title": "Bread"}, headers={"Idempotency-Key": "key-5"})

    assert (again.json(), other.status_code) == (first.json(), 201)
