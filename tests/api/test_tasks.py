"""The life of a task: create, get, update, toggle, delete."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.conftest import Rows, database_name
from tests.support.servers import Postgres
from tests.support.tasks import create
from tests.support.tokens import FRONTEND, SECRET, bearer, token_of

TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z")
FULL = {"title": "Write", "description": "At length", "completed": True, "due_date": "2026-01-31"}
DEFAULTS = {"description": None, "completed": False, "due_date": None}
NO_SUCH_TASK = {"detail": "There is no such task."}
COLUMNS = "SELECT id, user_id, title, description, completed, CAST(due_date AS text) FROM tasks ORDER BY id"
EVERYTHING = "SELECT * FROM tasks ORDER BY id"

put_or_patch = pytest.mark.parametrize("method", ["PUT", "PATCH"])


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"title": "Write"}, id="title-alone"),
        pytest.param(FULL, id="everything"),
        pytest.param({"title": "Write", **DEFAULTS}, id="defaults-spelled-out"),
        pytest.param({"title": "Write", "description": ""}, id="empty-description"),
    ],
)
def test_a_created_task_is_answered_located_and_stored(ada: TestClient, rows: Rows, values: dict[str, Any]) -> None:
    before = datetime.now(UTC)
    response = ada.post("/api/tasks", json=values)
    after = datetime.now(UTC)

    task = response.json()
    expected = {**DEFAULTS, **values}
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/tasks/{task['id']}"
    assert response.headers["content-type"] == "application/json"
    assert task == {"id": task["id"], **expected, "created_at": task["created_at"], "updated_at": task["created_at"]}
    assert TIMESTAMP.fullmatch(task["created_at"])
    assert before <= datetime.fromisoformat(task["created_at"]) <= after
    stored = (expected["title"], expected["description"], expected["completed"], expected["due_date"])
    assert rows(COLUMNS) == [(task["id"], "ada", *stored)]


def test_the_keys_of_a_task_are_these_in_this_order(ada: TestClient) -> None:
    assert list(create(ada, **FULL)) == [
        "id",
        "title",
        "description",
        "completed",
        "due_date",
        "created_at",
        "updated_at",
    ]


def test_a_task_is_found_where_its_location_says(ada: TestClient) -> None:
    created = ada.post("/api/tasks", json=FULL)

    response = ada.get(created.headers["location"])

    assert (response.status_code, response.json()) == (200, created.json())


def test_a_task_outlives_the_process(ada: TestClient, settings: Settings) -> None:
    task = create(ada, **FULL)

    with TestClient(create_app(settings), headers=bearer(token_of("ada"))) as restarted:
        assert restarted.get("/api/tasks").json() == [task]


@put_or_patch
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"title": "Rewrite"}, id="title"),
        pytest.param({"description": "Briefly"}, id="description"),
        pytest.param({"description": ""}, id="description-to-empty"),
        pytest.param({"description": None}, id="description-cleared"),
        pytest.param({"completed": False}, id="completed"),
        pytest.param({"due_date": "2027-12-24"}, id="due-date"),
        pytest.param({"due_date": None}, id="due-date-cleared"),
        pytest.param({"description": None, "due_date": None}, id="both-cleared"),
        pytest.param({"title": "Rewrite", **DEFAULTS}, id="everything"),
    ],
)
def test_an_update_changes_what_it_names_and_nothing_else(
    ada: TestClient, rows: Rows, change: dict[str, Any], method: str
) -> None:
    task = create(ada, **FULL)

    response = ada.request(method, f"/api/tasks/{task['id']}", json=change)

    updated = response.json()
    assert response.status_code == 200
    assert updated == {**task, **change, "updated_at": updated["updated_at"]}
    assert updated["updated_at"] > task["updated_at"]
    assert ada.get(f"/api/tasks/{task['id']}").json() == updated
    stored = [updated[name] for name in ("title", "description", "completed", "due_date")]
    assert rows(COLUMNS) == [(task["id"], "ada", *stored)]


@put_or_patch
@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="empty"),
        pytest.param({"priority": "high", "tags": []}, id="unknown-fields"),
        pytest.param({"id": 99, "created_at": "1999-01-01T00:00:00Z", "updated_at": None}, id="read-only-fields"),
        pytest.param({"user_id": "ada"}, id="owner"),
        pytest.param({"title": "Write"}, id="same-title"),
        pytest.param({"title": "  Write\n"}, id="same-title-untrimmed"),
        pytest.param({"due_date": "2026-01-31T00:00:00Z"}, id="same-date-as-a-timestamp"),
        pytest.param(FULL, id="same-everything"),
    ],
)
def test_an_update_of_nothing_leaves_the_task_and_its_time_alone(
    ada: TestClient, rows: Rows, body: dict[str, Any], method: str
) -> None:
    task = create(ada, **FULL)
    before = rows(EVERYTHING)

    response = ada.request(method, f"/api/tasks/{task['id']}", json=body)

    assert (response.status_code, response.json()) == (200, task)
    assert rows(EVERYTHING) == before


def test_clearing_what_is_clear_changes_nothing(ada: TestClient) -> None:
    """SQL's null is not equal to itself, but it is no change either."""
    task = create(ada, **DEFAULTS)

    response = ada.put(f"/api/tasks/{task['id']}", json={"description": None, "due_date": None})

    assert response.json() == task


def test_a_whole_task_can_be_sent_back(ada: TestClient) -> None:
    task = create(ada, **FULL)

    response = ada.put(f"/api/tasks/{task['id']}", json={**task, "title": "Rewrite"})

    assert response.status_code == 200
    assert response.json() == {**task, "title": "Rewrite", "updated_at": response.json()["updated_at"]}


def test_a_deleted_task_is_gone(ada: TestClient, rows: Rows) -> None:
    kept, task = create(ada, **FULL), create(ada, **FULL)
    path = f"/api/tasks/{task['id']}"

    response, again = ada.delete(path), ada.delete(path)

    assert (response.status_code, response.content) == (204, b"")
    assert "content-type" not in response.headers
    assert (again.status_code, again.json()) == (404, NO_SUCH_TASK)
    assert ada.get(path).status_code == 404
    assert rows("SELECT id FROM tasks") == [(kept["id"],)]


def test_times_have_microseconds_even_when_they_are_none(ada: TestClient, rows: Rows) -> None:
    path = ada.post("/api/tasks", json={"title": "On the second"}).headers["location"]
    rows("UPDATE tasks SET created_at = '2026-01-02 03:04:05.000000', updated_at = '2026-01-02 03:04:05.100000'")

    task = ada.get(path).json()

    assert task["created_at"] == "2026-01-02T03:04:05.000000Z"
    assert task["updated_at"] == "2026-01-02T03:04:05.100000Z"


def test_times_are_utc_wherever_the_database_is(postgres: Postgres, postgres_url: str) -> None:
    name = database_name(postgres_url)
    postgres.execute(name, f"ALTER DATABASE {name} SET timezone TO '+07'")
    app = create_app(Settings(secret=SECRET, frontend_url=FRONTEND, database_url=postgres_url))
    with TestClient(app, headers=bearer(token_of("ada"))) as client:
        created = client.post("/api/tasks", json={"title": "Far away"}).json()
        postgres.execute(name, "UPDATE tasks SET created_at = '2026-01-02 03:04:05.678901+00'")
        read = client.get("/api/tasks/1").json()

    assert read == {**created, "created_at": "2026-01-02T03:04:05.678901Z"}
