"""Which tasks a list holds, and in which order."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.conftest import Rows

TITLES = [
    "pear",
    "Apple",
    "apple",
    "APPLE",
    "Zebra",
    "Äpfel",
    "äpfel",
    "ÄPFEL",
    "éclair",
    "10",
    "9",
    "\N{RED APPLE}",
    "_",
]
BY_TITLE = [
    "10",
    "9",
    "_",
    "Apple",
    "apple",
    "APPLE",
    "pear",
    "Zebra",
    "Äpfel",
    "äpfel",
    "ÄPFEL",
    "éclair",
    "\N{RED APPLE}",
]
DUE = [None, "2026-01-31", "0001-01-01", None, "2026-01-31", "9999-12-31", "2025-12-31", "2026-01-31"]
BY_DUE = [2, 6, 1, 4, 7, 5, 0, 3]


def create(client: TestClient, **values: Any) -> dict[str, Any]:
    task: dict[str, Any] = client.post("/api/tasks", json={"title": "Write", **values}).json()
    return task


def names(client: TestClient, query: str) -> list[str]:
    response = client.get(f"/api/tasks{query}")
    assert response.status_code == 200
    return [task["title"] for task in response.json()]


def test_a_list_without_tasks_is_empty(ada: TestClient) -> None:
    response = ada.get("/api/tasks")

    assert (response.status_code, response.json()) == (200, [])
    assert response.headers["content-type"] == "application/json"


def test_a_list_holds_whole_tasks(ada: TestClient) -> None:
    first = create(ada, description="At length", completed=True, due_date="2026-01-31")
    second = create(ada)

    response = ada.get("/api/tasks")

    assert (response.status_code, response.json()) == (200, [second, first])
    assert "link" not in response.headers


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", ["c", "B", "a"], id="default"),
        pytest.param("?status=all", ["c", "B", "a"], id="all"),
        pytest.param("?status=pending", ["c", "a"], id="pending"),
        pytest.param("?status=completed", ["B"], id="completed"),
        pytest.param("?sort=title", ["a", "B", "c"], id="sorted"),
        pytest.param("?status=pending&sort=title", ["a", "c"], id="pending-sorted"),
        pytest.param("?sort=due_date&status=all", ["c", "a", "B"], id="all-by-due-date"),
        pytest.param("?status=completed&sort=due_date", ["B"], id="completed-by-due-date"),
        pytest.param("?page=2&offset=1&cache-buster", ["c", "B", "a"], id="unknown-parameters"),
        pytest.param("?sort=created&sort=title", ["a", "B", "c"], id="the-last-of-two"),
    ],
)
def test_a_list_is_filtered_and_sorted(ada: TestClient, query: str, expected: list[str]) -> None:
    create(ada, title="a", due_date="2026-01-31")
    create(ada, title="B", completed=True)
    create(ada, title="c", due_date="2026-01-30")

    assert names(ada, query) == expected


def test_a_task_changes_lists_when_it_is_toggled(ada: TestClient) -> None:
    task = create(ada)

    ada.patch(f"/api/tasks/{task['id']}/complete")

    assert (names(ada, "?status=pending"), names(ada, "?status=completed")) == ([], ["Write"])


def test_created_is_newest_first_and_ties_are_ordered_by_id(ada: TestClient, rows: Rows) -> None:
    """The higher of two equal ones was made later."""
    for title in "abcde":
        create(ada, title=title)
    oldest = "(SELECT min(created_at) FROM tasks)"
    rows(f"UPDATE tasks SET created_at = {oldest} WHERE title IN ('b', 'd', 'e')")

    assert names(ada, "?sort=created") == ["c", "e", "d", "b", "a"]


def test_an_edit_does_not_move_a_task_in_the_order_of_creation(ada: TestClient) -> None:
    first = create(ada, title="a")
    create(ada, title="b")
    ada.put(f"/api/tasks/{first['id']}", json={"title": "A"})

    assert names(ada, "?sort=created") == ["b", "A"]


def test_titles_are_sorted_by_code_point_ignoring_case_and_ties_by_id(ada: TestClient) -> None:
    for title in TITLES:
        create(ada, title=title)

    assert names(ada, "?sort=title") == BY_TITLE


def test_due_dates_are_soonest_first_undated_last_and_ties_by_id(ada: TestClient) -> None:
    for number, due in enumerate(DUE):
        create(ada, title=str(number), due_date=due)

    assert names(ada, "?sort=due_date") == [str(number) for number in BY_DUE]


STATUS = "must be 'all', 'pending' or 'completed'"
SORT = "must be 'created', 'title' or 'due_date'"
WHOLE = "must be a whole number"
CURSOR = "was not given by this API for sort=created; take it from a Link header"


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        pytest.param("status=done", "status", STATUS, id="unknown-status"),
        pytest.param("status=", "status", STATUS, id="empty-status"),
        pytest.param("status=Pending", "status", STATUS, id="status-in-capitals"),
        pytest.param("status=all&status=x", "status", STATUS, id="second-status"),
        pytest.param("sort=priority", "sort", SORT, id="unknown-sort"),
        pytest.param("sort=", "sort", SORT, id="empty-sort"),
        pytest.param("sort=-title", "sort", SORT, id="descending-sort"),
        pytest.param("sort=title;drop", "sort", SORT, id="sort-with-more"),
        pytest.param("limit=0", "limit", "must be at least 1", id="limit-0"),
        pytest.param(f"limit={'9' * 5000}", "limit", "is too large", id="limit-endless"),
        pytest.param("limit=501", "limit", "must be at most 500", id="limit-501"),
        pytest.param(f"limit={2**64}", "limit", "must be at most 500", id="limit-2^64"),
        pytest.param("limit=", "limit", WHOLE, id="limit-empty"),
        pytest.param("limit=abc", "limit", WHOLE, id="limit-abc"),
        pytest.param("limit=-1", "limit", WHOLE, id="limit-negative"),
        pytest.param("limit=1.0", "limit", WHOLE, id="limit-fraction"),
        pytest.param("limit=%2B1", "limit", WHOLE, id="limit-plus"),
        pytest.param("limit=1_0", "limit", WHOLE, id="limit-underscore"),
        pytest.param("limit=%201", "limit", WHOLE, id="limit-space"),
        pytest.param("limit=1%0A", "limit", WHOLE, id="limit-newline"),
        pytest.param("limit=%D9%A1", "limit", WHOLE, id="limit-arabic"),
        pytest.param("limit=1e2", "limit", WHOLE, id="limit-exponent"),
        pytest.param("limit=%00", "limit", WHOLE, id="limit-nul"),
        pytest.param("cursor=", "cursor", CURSOR, id="cursor-empty"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(ada: TestClient, query: str, field: str, message: str) -> None:
    response = ada.get(f"/api/tasks?{query}")

    assert response.status_code == 400
    assert response.json() == {"detail": f"{field} {message}.", "errors": [{"field": field, "message": message}]}


def test_all_bad_parameters_are_named_at_once(ada: TestClient) -> None:
    response = ada.get("/api/tasks?status=done&sort=priority&limit=0")

    errors = [
        {"field": "status", "message": STATUS},
        {"field": "sort", "message": SORT},
        {"field": "limit", "message": "must be at least 1"},
    ]
    detail = "; ".join(f"{error['field']} {error['message']}" for error in errors)
    assert (response.status_code, response.json()) == (400, {"detail": f"{detail}.", "errors": errors})


def test_a_huge_limit_is_a_bad_limit(ada: TestClient) -> None:
    response = ada.get(f"/api/tasks?limit={'9' * 5000}")

    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["limit"]
