"""Rows that were imported with their ids, which PostgreSQL's counter knows nothing of."""

import pytest
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.conftest import RowsOf
from tests.support.tokens import SECRET, bearer, token_of

ADA = bearer(token_of("ada"))
IMPORT = "INSERT INTO tasks (id, user_id, title, created_at, updated_at) VALUES (3, 'ada', 'Imported', now(), now())"
TITLED_ONCE = "ALTER TABLE tasks ADD UNIQUE (user_id, title)"
BEHIND = "SELECT setval(pg_get_serial_sequence('tasks', 'id'), (SELECT max(id) FROM tasks))"


@pytest.mark.parametrize("kind", ["postgres_url", "partitioned_url", "migrated_url"])
def test_an_id_that_is_taken_is_a_fault_of_the_database(
    kind: str, request: pytest.FixtureRequest, rows_of: RowsOf, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says what to do about it."""
    url = request.getfixturevalue(kind)
    with TestClient(create_app(Settings(secret=SECRET, database_url=url)), headers=ADA) as ada:
        assert ada.get("/api/tasks").json() == []
        rows_of(url, IMPORT)
        rows_of(url, "SELECT setval(pg_get_serial_sequence('tasks', 'id'), 2)")
        # As the key of a shard is named by Citus.
        rows_of(url, "ALTER TABLE tasks RENAME CONSTRAINT tasks_pkey TO tasks_pkey_102008")

        refused = ada.post("/api/tasks", json={"title": "Write"})
        logged = [message for message in caplog.messages if message.startswith("503")]
        rows_of(url, BEHIND)
        created = ada.post("/api/tasks", json={"title": "Write"})

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.json() == {"detail": "The database cannot be reached at present; try again shortly."}
    assert [message.endswith(f"(23505); the counter of ids is behind; run {BEHIND}") for message in logged] == [True]
    assert (created.status_code, created.json()["id"]) == (201, 4)


def test_another_unique_key_is_still_a_matter_of_what_is_written(postgres_url: str, rows_of: RowsOf) -> None:
    """Of a table that somebody gave one."""
    with TestClient(create_app(Settings(secret=SECRET, database_url=postgres_url)), headers=ADA) as ada:
        assert ada.post("/api/tasks", json={"title": "Write"}).status_code == 201
        rows_of(postgres_url, TITLED_ONCE)

        assert ada.post("/api/tasks", json={"title": "Write"}).status_code == 400
