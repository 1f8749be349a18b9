"""`completed`: flipped by a request without a body, set by one that says what it is to be."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.conftest import Rows
from tests.support.asgi import call_at_once
from tests.support.tokens import bearer, token_of

EVERYTHING = "SELECT * FROM tasks ORDER BY id"


def create(client: TestClient, completed: bool) -> dict[str, Any]:
    task: dict[str, Any] = client.post("/api/tasks", json={"title": "Write", "completed": completed}).json()
    return task


def test_a_toggle_flips_and_flips_back(ada: TestClient, rows: Rows) -> None:
    task = create(ada, completed=False)
    path = f"/api/tasks/{task['id']}/complete"

    first, second = ada.patch(path), ada.patch(path)

    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == {**task, "completed": True, "updated_at": first.json()["updated_at"]}
    assert second.json() == {**task, "updated_at": second.json()["updated_at"]}
    assert task["updated_at"] < first.json()["updated_at"] < second.json()["updated_at"]
    assert rows("SELECT completed FROM tasks") == [(False,)]


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_a_body_sets_what_a_toggle_would_flip_however_often_it_is_sent(
    ada: TestClient, rows: Rows, before: bool, wanted: bool
) -> None:
    task = create(ada, completed=before)
    path = f"/api/tasks/{task['id']}/complete"

    first = ada.patch(path, json={"completed": wanted})
    stored = rows(EVERYTHING)
    again = ada.patch(path, json={"completed": wanted})

    changed = first.json()
    assert (first.status_code, again.status_code) == (200, 200)
    assert changed == {**task, "completed": wanted, "updated_at": changed["updated_at"]}
    assert (changed["updated_at"] == task["updated_at"]) is (before == wanted)
    assert again.json() == changed
    assert rows(EVERYTHING) == stored


@pytest.mark.parametrize("body", [{}, {"user_id": "ada"}, {"priority": "high"}], ids=["empty", "owner", "unknown"])
def test_an_object_that_leaves_completed_out_flips_it(ada: TestClient, body: dict[str, Any]) -> None:
    """Clients that always send JSON send `{}` where they mean no body."""
    task = create(ada, completed=False)
    path = f"/api/tasks/{task['id']}/complete"

    flips = [ada.patch(path, json=body).json()["completed"] for _ in range(3)]

    assert flips == [True, False, True]


@pytest.mark.parametrize("value", [None, 0, 1, "true", "yes", [], {}], ids=repr)
def test_completed_is_set_to_nothing_but_a_boolean(ada: TestClient, rows: Rows, value: Any) -> None:
    task = create(ada, completed=True)
    before = rows(EVERYTHING)

    response = ada.patch(f"/api/tasks/{task['id']}/complete", json={"completed": value})

    message = "must be true or false"
    errors = [{"field": "completed", "message": message}]
    assert (response.status_code, response.json()) == (400, {"detail": f"completed {message}.", "errors": errors})
    assert rows(EVERYTHING) == before


def test_concurrent_toggles_are_all_counted(app: Starlette, ada: TestClient, rows: Rows) -> None:
    """None is lost, and each one sees its own flip."""
    path = f"/api/tasks/{create(ada, completed=False)['id']}/complete"

    toggle = {"method": "PATCH", "url": path, "headers": bearer(token_of("ada"))}
    responses = call_at_once(app, [toggle] * 100)

    assert [response.status_code for response in responses] == [200] * 100
    assert sorted(response.json()["completed"] for response in responses) == [False] * 50 + [True] * 50
    assert rows("SELECT completed FROM tasks") == [(False,)]
