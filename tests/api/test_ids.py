"""Which task an id in a path means, and whose it is."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.conftest import Rows
from tests.support.tasks import create

NO_SUCH_TASK = {"detail": "There is no such task."}
EVERYTHING = "SELECT * FROM tasks ORDER BY id"

ON_A_TASK = {
    "get": ("GET", "", None),
    "update": ("PUT", "", {"title": "Taken"}),
    "update-of-nothing": ("PUT", "", {}),
    "patch": ("PATCH", "", {"title": "Taken"}),
    "patch-of-nothing": ("PATCH", "", {}),
    "toggle": ("PATCH", "/complete", None),
    "complete": ("PATCH", "/complete", {"completed": True}),
    "delete": ("DELETE", "", None),
}
on_a_task = pytest.mark.parametrize(("method", "suffix", "body"), ON_A_TASK.values(), ids=ON_A_TASK)


@pytest.mark.parametrize(
    "task_id",
    [
        *["0", "-1", "01", "+1", "1.0", "1e0", "1_0", "abc", "%20", "%201", "1%00", "null", "0x1"],
        pytest.param(str(2**31), id="2^31"),
        pytest.param(str(2**63 - 1), id="2^63-1"),
        pytest.param(str(2**63), id="2^63"),
        pytest.param("9" * 5000, id="5000-digits"),
        pytest.param("%D9%A1", id="arabic-one"),
        pytest.param("%F0%9F%8D%8E", id="emoji"),
    ],
)
def test_an_id_that_is_no_task_is_not_found_by_any_method(ada: TestClient, rows: Rows, task_id: str) -> None:
    create(ada)
    before = rows(EVERYTHING)

    answers = {
        name: ada.request(method, f"/api/tasks/{task_id}{suffix}", json=body)
        for name, (method, suffix, body) in ON_A_TASK.items()
    }

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(ON_A_TASK, 404)
    assert {name: answer.json() for name, answer in answers.items()} == dict.fromkeys(ON_A_TASK, NO_SUCH_TASK)
    assert rows(EVERYTHING) == before


@pytest.mark.parametrize("task_id", [0, 2**31, 2**63 - 1], ids=["0", "2^31", "2^63-1"])
def test_every_64_bit_id_is_served(ada: TestClient, rows: Rows, task_id: int) -> None:
    create(ada)
    rows(f"UPDATE tasks SET id = {task_id}")
    path = f"/api/tasks/{task_id}"

    answers = [
        ada.get(path),
        ada.put(path, json={"title": "Rewrite"}),
        ada.patch(path, json={"title": "Rewrite again"}),
        ada.patch(f"{path}/complete"),
        ada.patch(f"{path}/complete", json={"completed": False}),
    ]

    assert [answer.json()["id"] for answer in answers] == [task_id] * 5
    assert (ada.delete(path).status_code, rows(EVERYTHING)) == (204, [])


@on_a_task
def test_another_persons_task_is_404_and_unchanged(
    ada: TestClient, bob: TestClient, rows: Rows, method: str, suffix: str, body: Any
) -> None:
    task = create(ada)
    before = rows(EVERYTHING)

    theirs = bob.request(method, f"/api/tasks/{task['id']}{suffix}", json=body)
    missing = bob.request(method, f"/api/tasks/{task['id'] + 1}{suffix}", json=body)

    assert (theirs.status_code, theirs.json()) == (404, NO_SUCH_TASK)
    assert (missing.status_code, missing.content) == (404, theirs.content)
    assert {**theirs.headers, "x-request-id": ""} == {**missing.headers, "x-request-id": ""}
    assert rows(EVERYTHING) == before


def test_a_bad_update_of_another_persons_task_is_answered_as_of_no_task(ada: TestClient, bob: TestClient) -> None:
    task = create(ada)

    theirs = bob.put(f"/api/tasks/{task['id']}", json={"title": ""})
    missing = bob.put(f"/api/tasks/{task['id'] + 1}", json={"title": ""})

    assert (theirs.status_code, theirs.content) == (missing.status_code, missing.content)


def test_everybody_lists_their_own_tasks(
    ada: TestClient, bob: TestClient, sign_in: Callable[[str], TestClient]
) -> None:
    hers, his = create(ada), create(bob)

    lists = [person.get("/api/tasks").json() for person in (ada, bob, sign_in("eve"))]

    assert lists == [[hers], [his], []]
