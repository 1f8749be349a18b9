"""Many tasks at once: an array of new ones, all completed, all completed ones deleted."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.conftest import Rows
from tests.support.tasks import create, create_many, whole
from tests.support.tokens import bearer, token_of

pytestmark = pytest.mark.database("two")

EVERYTHING = "SELECT * FROM tasks ORDER BY id"
KEY = {"Idempotency-Key": "one"}
TASKS: list[dict[str, Any]] = [
    {"title": "  Eins  ", "description": 'a "quoted" \\ line\nand 🍎', "completed": True, "due_date": "2026-01-31"},
    {"title": "Zwei"},
    {"title": "Drei", "description": "", "due_date": "2026-02-01T00:00:00Z"},
]
STORED: list[dict[str, Any]] = [
    {"title": "Eins", "description": 'a "quoted" \\ line\nand 🍎', "completed": True, "due_date": "2026-01-31"},
    {"title": "Zwei", "description": None, "completed": False, "due_date": None},
    {"title": "Drei", "description": "", "completed": False, "due_date": "2026-02-01"},
]


def given(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: task[name] for name in STORED[0]} for task in tasks]


def test_an_array_is_made_and_answered_in_its_order(ada: TestClient, bob: TestClient) -> None:
    token = ada.get("/api/changes").json()["token"]
    answer = ada.post("/api/tasks", json=TASKS)
    made = answer.json()

    assert answer.status_code == 201
    assert "location" not in answer.headers
    assert given(made) == STORED
    assert [task["id"] for task in made] == sorted(task["id"] for task in made)
    assert [ada.get(f"/api/tasks/{task['id']}").json() for task in made] == made
    assert ada.get("/api/changes", params={"since": token}).json()["tasks"] == made
    assert whole(bob) == []


def test_500_tasks_are_made_at_once_and_no_more(ada: TestClient, rows: Rows) -> None:
    tasks = [{"title": f"Task {number}"} for number in range(501)]
    too_many = ada.post("/api/tasks", json=tasks)

    assert too_many.status_code == 400
    assert too_many.json()["errors"] == [{"field": "body", "message": "must have at most 500 tasks"}]
    assert rows(EVERYTHING) == []
    made = ada.post("/api/tasks", json=tasks[:500]).json()
    assert [task["title"] for task in made] == [task["title"] for task in tasks[:500]]
    assert len(whole(ada)) == 500


def test_every_bad_one_is_named_and_none_is_made(ada: TestClient, rows: Rows) -> None:
    answer = ada.post("/api/tasks", json=[{"title": "Good"}, {"title": " "}, 5, {"title": "a", "completed": "yes"}, {}])

    assert answer.status_code == 400
    assert answer.json() == {
        "detail": "[1].title must not be blank; [2] must be a JSON object; [3].completed must be true or false;"
        " [4].title is required.",
        "errors": [
            {"field": "[1].title", "message": "must not be blank"},
            {"field": "[2]", "message": "must be a JSON object"},
            {"field": "[3].completed", "message": "must be true or false"},
            {"field": "[4].title", "message": "is required"},
        ],
    }
    assert rows(EVERYTHING) == []


def test_an_empty_array_is_a_400(ada: TestClient) -> None:
    answer = ada.post("/api/tasks", json=[])

    assert (answer.status_code, answer.json()["detail"]) == (400, "body must not be empty.")


def test_one_task_of_somebody_else_is_a_403_for_all(ada: TestClient, rows: Rows) -> None:
    mine = ada.post("/api/tasks", json=[{"title": "Mine", "user_id": "ada"}])
    theirs = ada.post("/api/tasks", json=[{"title": "Mine"}, {"title": "Theirs", "user_id": "bob"}])

    assert (mine.status_code, theirs.status_code) == (201, 403)
    assert rows("SELECT title FROM tasks") == [("Mine",)]


def test_an_array_that_is_sent_again_is_made_once(ada: TestClient, rows: Rows) -> None:
    """The tasks are answered as they are now."""
    first, again = (ada.post("/api/tasks", json=TASKS, headers=KEY) for _ in range(2))
    made = first.json()
    changed = ada.patch(f"/api/tasks/{made[0]['id']}", json={"title": "Changed"}).json()
    ada.delete(f"/api/tasks/{made[1]['id']}")
    later = ada.post("/api/tasks", json=TASKS, headers=KEY)
    other = ada.post("/api/tasks", json=TASKS[:1], headers=KEY)

    assert (first.status_code, given(made)) == (201, STORED)
    assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (201, made, "true")
    assert "idempotency-replayed" not in first.headers
    assert (later.status_code, later.json()) == (201, [changed, made[2]])
    assert other.status_code == 422
    assert rows("SELECT count(*) FROM tasks") == [(2,)]


def test_an_array_of_which_nothing_is_left_is_not_made_again(ada: TestClient) -> None:
    made = ada.post("/api/tasks", json=TASKS, headers=KEY).json()
    for task in made:
        ada.delete(f"/api/tasks/{task['id']}")
    again = ada.post("/api/tasks", json=TASKS, headers=KEY)

    assert (again.status_code, again.json(), whole(ada)) == (201, [], [])


def test_arrays_keep_to_the_task_limit(settings: Settings) -> None:
    limited = create_app(Settings(secret=settings.secret, database_url=settings.database_url, task_limit=4))
    with TestClient(limited, headers=bearer(token_of("ada"))) as ada:
        first = ada.post("/api/tasks", json=TASKS, headers=KEY)
        refused = ada.post("/api/tasks", json=TASKS)
        again = ada.post("/api/tasks", json=TASKS, headers=KEY)
        one = ada.post("/api/tasks", json=TASKS[:1])
        deleted = ada.delete("/api/tasks?status=completed")
        two = ada.post("/api/tasks", json=TASKS[:2])
        none = ada.post("/api/tasks", json=TASKS[:1])

        assert (first.status_code, one.status_code, two.status_code, none.status_code) == (201, 201, 201, 403)
        assert (refused.status_code, refused.json()) == (
            403,
            {"detail": "You may have 4 tasks, and these would be too many; delete some, or add fewer."},
        )
        assert (again.status_code, again.json()) == (201, first.json())
        assert deleted.json() == {"count": 2}
        assert len(whole(ada)) == 4


@pytest.mark.parametrize(
    ("query", "completed", "count"),
    [
        pytest.param("", True, 3, id="all"),
        pytest.param("?status=all", False, 2, id="all-back"),
        pytest.param("?status=pending", True, 3, id="pending"),
        pytest.param("?status=completed", True, 0, id="completed-are-completed"),
        pytest.param("?status=completed", False, 2, id="completed-back"),
        pytest.param("?status=pending", False, 0, id="pending-are-pending"),
    ],
)
def test_all_of_a_status_are_completed(
    ada: TestClient, bob: TestClient, rows: Rows, query: str, completed: bool, count: int
) -> None:
    """Those that are so already keep their `updated_at`."""
    before = {task["id"]: task for task in create_many(ada, 5)}
    of_bob = create_many(bob, 4)
    token = ada.get("/api/changes").json()["token"]
    answer = ada.patch(f"/api/tasks{query}", json={"completed": completed})
    changes = ada.get("/api/changes", params={"since": token}).json()["tasks"]

    assert (answer.status_code, answer.json()) == (200, {"count": count})
    after = {task["id"]: task for task in whole(ada)}
    expected = {id_: {**task, "completed": completed} for id_, task in before.items() if count}
    for id_, task in after.items():
        same = not count or before[id_]["completed"] == completed
        assert task == ({**before[id_]} if same else {**expected[id_], "updated_at": task["updated_at"]})
        assert same == (task["updated_at"] == before[id_]["updated_at"])
    assert {task["id"] for task in changes} == {id_ for id_, task in after.items() if task != before[id_]}
    assert len(changes) == count
    assert sorted(task["id"] for task in whole(bob)) == sorted(task["id"] for task in of_bob)
    assert rows("SELECT count(*) FROM tasks WHERE user_id = 'bob' AND completed = true") == [(2,)]


def test_completing_all_again_with_a_key_gives_the_first_count(ada: TestClient) -> None:
    create_many(ada, 5)
    first = ada.patch("/api/tasks", json={"completed": True}, headers=KEY)
    ada.patch("/api/tasks", json={"completed": False})
    again = ada.patch("/api/tasks", json={"completed": True}, headers=KEY)

    assert (first.json(), again.json()) == ({"count": 3}, {"count": 3})
    assert again.headers["idempotency-replayed"] == "true"
    assert not any(task["completed"] for task in whole(ada))


@pytest.mark.parametrize("status", ["completed", "pending"])
def test_all_of_a_status_are_deleted(ada: TestClient, bob: TestClient, status: str) -> None:
    tasks = create_many(ada, 5)
    create_many(bob, 5)
    gone = {task["id"] for task in tasks if task["completed"] == (status == "completed")}
    token = ada.get("/api/changes").json()["token"]
    answer = ada.delete(f"/api/tasks?status={status}")

    assert (answer.status_code, answer.json()) == (200, {"count": len(gone)})
    assert {task["id"] for task in whole(ada)} == {task["id"] for task in tasks} - gone
    assert set(ada.get("/api/changes", params={"since": token}).json()["deleted"]) == gone
    assert len(whole(bob)) == 5
    assert ada.delete(f"/api/tasks?status={status}").json() == {"count": 0}


@pytest.mark.parametrize(
    ("method", "query", "body", "field", "message"),
    [
        ("DELETE", "", None, "status", "is required"),
        ("DELETE", "?status=all", None, "status", "must be 'pending' or 'completed'"),
        (
            "DELETE",
            "?status=completed&limit=1",
            None,
            "limit",
            "is not taken here",
        ),
        ("PATCH", "?status=done", {"completed": True}, "status", "must be 'all', 'pending' or 'completed'"),
        (
            "PATCH",
            "?cursor=x",
            {"completed": True},
            "cursor",
            "is not taken here",
        ),
        ("PATCH", "?STATUS=completed", {"completed": True}, "STATUS", "is not taken here"),
        ("PATCH", "", {}, "completed", "is required"),
        ("PATCH", "", {"completed": None}, "completed", "must be true or false"),
        ("PATCH", "", [], "body", "must be a JSON object"),
    ],
    ids=str,
)
def test_what_is_not_meant_changes_nothing(
    ada: TestClient, rows: Rows, method: str, query: str, body: Any, field: str, message: str
) -> None:
    create_many(ada, 3)
    before = rows(EVERYTHING)
    answer = ada.request(method, f"/api/tasks{query}", json=body)

    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": field, "message": message}]
    assert rows(EVERYTHING) == before


def test_a_whole_list_belongs_to_its_caller(ada: TestClient) -> None:
    create(ada)

    assert ada.patch("/api/tasks", json={"completed": True, "user_id": "bob"}).status_code == 403


@pytest.mark.parametrize("change", ["post", "patch", "delete"])
def test_a_person_whose_row_is_gone_gets_it_again(ada: TestClient, rows: Rows, change: str) -> None:
    create(ada)
    rows("DELETE FROM users")
    if change == "post":
        assert ada.post("/api/tasks", json=TASKS).status_code == 201
    elif change == "patch":
        assert ada.patch("/api/tasks", json={"completed": True}).json() == {"count": 0}
    else:
        assert ada.delete("/api/tasks?status=pending").json() == {"count": 0}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_condition_is_refused(ada: TestClient, method: str) -> None:
    """It would be that of a list, which somebody may take for checked."""
    create(ada, completed=True)
    answer = ada.request(method, "/api/tasks?status=completed", json={"completed": False}, headers={"If-Match": '"a"'})

    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "If-Match is for a change of one task; leave it out for a change of many.",
    )
    assert [task["completed"] for task in whole(ada)] == [True]


def test_a_key_is_for_one_status(ada: TestClient) -> None:
    create_many(ada, 5)
    first = ada.patch("/api/tasks?status=completed", json={"completed": True}, headers=KEY)
    other = ada.patch("/api/tasks?status=pending", json={"completed": True}, headers=KEY)

    assert (first.json(), other.status_code) == ({"count": 0}, 422)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_two_statuses_are_refused(ada: TestClient, method: str) -> None:
    create_many(ada, 5)
    answer = ada.request(method, "/api/tasks?status=completed&status=pending", json={"completed": True})

    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "A parameter of the query is given twice; give it once.",
    )
    assert len(whole(ada)) == 5
