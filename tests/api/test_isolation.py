"""The check behind `conftest.every_statement_constrains_the_owner`, on statements that pass and that fail."""

import re

import pytest
from starlette.testclient import TestClient

from tests.support.isolation import StatementLog, constrains_owner


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("SELECT tasks.id FROM tasks WHERE tasks.user_id = ?", id="select"),
        pytest.param("SELECT tasks.id FROM tasks WHERE tasks.user_id = %(owner)s AND tasks.id = %(task_id)s", id="get"),
        pytest.param(
            "SELECT tasks.id FROM tasks\nWHERE tasks.user_id = %(owner)s AND ((tasks.due_date, tasks.id) >"
            " (%(a)s, %(b)s) OR tasks.due_date IS NULL) ORDER BY tasks.id LIMIT %(row_limit)s",
            id="or-inside-parentheses",
        ),
        pytest.param(
            "UPDATE tasks SET title=? WHERE tasks.user_id = ? AND tasks.id = ? RETURNING tasks.id", id="update"
        ),
        pytest.param("INSERT INTO tasks (user_id, title) VALUES (?, ?)", id="insert"),
        pytest.param(
            "UPDATE tasks SET title=? FROM change_clocks WHERE tasks.user_id = ? AND change_clocks.user_id = ?"
        ),
        pytest.param(
            "SELECT a.id FROM (SELECT tasks.id FROM tasks WHERE tasks.user_id = ? AND (tasks.id = ? OR tasks.id = ?)"
            " UNION ALL SELECT deleted_tasks.id FROM deleted_tasks WHERE deleted_tasks.user_id = ? LIMIT ?) AS a",
            id="nested",
        ),
    ],
)
def test_a_statement_that_names_its_owner_passes(statement: str) -> None:
    assert constrains_owner(statement)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("SELECT tasks.id FROM tasks", id="everything"),
        pytest.param("SELECT tasks.user_id FROM tasks WHERE tasks.id = ?", id="only-selected"),
        pytest.param("DELETE FROM tasks WHERE tasks.id = ? RETURNING tasks.user_id", id="only-returned"),
        pytest.param("SELECT tasks.id FROM tasks WHERE tasks.user_id = ? OR tasks.id = ?", id="or"),
        pytest.param("SELECT tasks.id FROM tasks WHERE (tasks.user_id = ? OR tasks.id = ?)", id="or-in-parentheses"),
        pytest.param("SELECT tasks.id FROM tasks WHERE tasks.user_id = tasks.user_id", id="itself"),
        pytest.param("SELECT tasks.id FROM tasks WHERE tasks.user_id IS NOT NULL", id="not-null"),
        pytest.param("UPDATE tasks SET user_id=? WHERE tasks.id = ?", id="only-set"),
        pytest.param("INSERT INTO tasks (title) VALUES (?)", id="insert-without-owner"),
        pytest.param("SELECT deleted_tasks.id FROM deleted_tasks WHERE deleted_tasks.id = ?", id="another-table"),
        pytest.param("UPDATE tasks SET title=? FROM change_clocks WHERE tasks.user_id = ?", id="one-of-two-tables"),
        pytest.param(
            "SELECT a.id FROM (SELECT tasks.id FROM tasks WHERE tasks.user_id = ?"
            " UNION ALL SELECT deleted_tasks.id FROM deleted_tasks) AS a WHERE a.user_id = ?",
            id="nested",
        ),
        pytest.param("SELECT users.id FROM users WHERE EXISTS (SELECT tasks.id FROM tasks)", id="subquery"),
    ],
)
def test_a_statement_that_could_reach_others_does_not(statement: str) -> None:
    assert not constrains_owner(statement)


def test_the_listener_hears_every_endpoint(ada: TestClient) -> None:
    log = StatementLog()
    created = ada.post("/api/tasks", json={"title": "Heard"}).headers["location"]
    ada.get("/api/tasks")
    ada.get(created)
    ada.put(created, json={"title": "Changed"})
    ada.patch(f"{created}/complete")
    ada.delete(created)
    log.close()

    begins = [" ".join(re.split(r"[\s.(]+", statement)[:3]) for statement in log.statements]
    assert sorted(begins) == [
        *("DELETE FROM deleted_tasks", "DELETE FROM tasks"),
        *("INSERT INTO change_clocks", "INSERT INTO deleted_tasks", "INSERT INTO tasks"),
        *("SELECT count *)", "SELECT tasks id,", "SELECT tasks id,"),
        *("UPDATE change_clocks SET", "UPDATE tasks SET", "UPDATE tasks SET"),
    ]
