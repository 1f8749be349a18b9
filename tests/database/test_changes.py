"""Tables that another program has made, or that change under a running app: 503 with a reason in the log, no 500."""

import re
from contextlib import nullcontext
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tables import TABLES
from tests.conftest import Rows, database_name
from tests.database.foreign import tables
from tests.support.servers import Postgres
from tests.support.tokens import FRONTEND, SECRET, bearer, token_of

UNREACHABLE = {"detail": "The database cannot be reached at present; try again shortly."}
HINT = "if the table belongs to another program, give this app a database or a schema of its own"
CHANGED = "a revision in migrations/ is missing, or another program changed the table"
CALLS = [
    ("GET", "/api/tasks"),
    ("GET", "/api/tasks?status=pending&sort=due_date"),
    ("POST", "/api/tasks"),
    ("GET", "/api/tasks/1"),
    ("PUT", "/api/tasks/1"),
    ("PATCH", "/api/tasks/1/complete"),
    ("DELETE", "/api/tasks/1"),
    ("GET", "/api/changes"),
    ("GET", "/ready"),
]
WELL = [200, 200, 201, 200, 200, 200, 204, 200, 200]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short ones."""
    monkeypatch.setattr("database.preparation.MAX_BACKOFF", 0.05)
    monkeypatch.setattr("database.preparation.INITIAL_BACKOFF", 0.05)


def answers(client: TestClient) -> list[tuple[int, Any]]:
    """Of every route that asks the database."""
    found = [client.request(method, path, json={"title": "Write"}) for method, path in CALLS]
    return [(answer.status_code, answer.json() if answer.content else None) for answer in found]


def recovered(client: TestClient) -> list[int]:
    """The statuses of all routes once the app says that it is ready."""
    for _ in range(500):
        if client.get("/ready").status_code == 200:
            return [status for status, _ in answers(client)]
    pytest.fail("it never was ready again")


def kind_of(url: str) -> str:
    return "sqlite" if "sqlite" in url else "postgresql"


@pytest.mark.database("bare")
@pytest.mark.parametrize("lifespan", [True, False], ids=["with-lifespan", "without"])
def test_tables_of_another_program_are_a_503_until_they_are_put_right(
    database_url: str, app: Starlette, rows: Rows, caplog: pytest.LogCaptureFixture, lifespan: bool
) -> None:
    for statement in tables(kind_of(database_url), {"tasks.due_date": None, "tasks.list": "integer NOT NULL"}):
        rows(statement)
    reason = f"the table tasks has no column due_date; {HINT}"
    client = TestClient(app, headers=bearer(token_of("ada")))
    with client if lifespan else nullcontext():
        assert answers(client) == [(503, UNREACHABLE)] * len(CALLS)
        assert (
            f"Started without the database; requests get a 503 until it can be reached: {reason}" in caplog.messages
            or not lifespan
        )
        assert len([line for line in caplog.messages if line.endswith(f": {reason}")]) == len(CALLS) + lifespan

        rows("ALTER TABLE tasks ADD due_date date")
        rows("ALTER TABLE tasks DROP COLUMN list")
        assert recovered(client) == WELL


@pytest.mark.parametrize("gone", [["tasks"], [*reversed(TABLES)]], ids=["tasks", "all"])
def test_tables_that_are_dropped_are_made_again(ada: TestClient, rows: Rows, gone: list[str]) -> None:
    assert ada.post("/api/tasks", json={"title": "Lost with the table"}).status_code == 201
    for table in gone:
        rows(f"DROP TABLE {table}")

    first, second = ada.get("/api/tasks"), ada.get("/api/tasks")

    assert (first.status_code, first.json()) == (503, UNREACHABLE)
    assert (second.status_code, second.json()) == (200, [])
    task = ada.post("/api/tasks", json={"title": "Kept"})
    assert (task.status_code, ada.get("/api/tasks").json()) == (201, [task.json()])
    assert rows("SELECT id, email, name FROM users") == [("ada", "ada@example.com", "Ada")]


def test_readiness_asks_for_the_tables_and_makes_them(ada: TestClient, rows: Rows) -> None:
    ada.get("/api/tasks")
    rows("DROP TABLE tasks")

    assert ada.get("/ready").status_code == 200
    assert ada.get("/api/tasks").json() == []


def test_tables_that_are_restored_are_used_again(ada: TestClient, rows: Rows) -> None:
    """Renamed out of the way, and back again later."""
    task = ada.post("/api/tasks", json={"title": "Kept"}).json()
    rows("ALTER TABLE tasks RENAME TO tasks_of_yesterday")
    ada.get("/ready")
    assert ada.get("/api/tasks").json() == []

    rows("DROP TABLE tasks")
    rows("ALTER TABLE tasks_of_yesterday RENAME TO tasks")

    assert ada.get("/ready").status_code == 200
    assert ada.get("/api/tasks").json() == [task]


def test_a_column_that_is_dropped_is_a_503_with_a_reason(
    ada: TestClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    ada.get("/api/tasks")
    rows("DROP INDEX ix_tasks_user_id_due_date")
    rows("ALTER TABLE tasks DROP COLUMN due_date")

    assert answers(ada) == [(503, UNREACHABLE)] * len(CALLS)
    assert caplog.messages[-1].endswith(f": the table tasks has no column due_date; {CHANGED}")
    rows("ALTER TABLE tasks ADD due_date date")
    assert recovered(ada) == WELL


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE tasks ALTER completed DROP DEFAULT, ALTER completed TYPE integer USING completed::int",
        "ALTER SCHEMA public RENAME TO elsewhere",
    ],
    ids=["type", "schema"],
)
def test_a_change_that_statements_stumble_over_is_a_503(change: str, postgres: Postgres, postgres_url: str) -> None:
    name = database_name(postgres_url)
    settings = Settings(secret=SECRET, frontend_url=FRONTEND, database_url=postgres_url)
    with TestClient(create_app(settings), headers=bearer(token_of("ada"))) as ada:
        ada.get("/api/tasks")
        postgres.execute(name, change)

        assert ada.post("/api/tasks", json={"title": "Write"}).status_code == 503
        assert answers(ada) == [(503, UNREACHABLE)] * len(CALLS)


def test_a_right_that_is_taken_away_is_a_503_until_it_is_back(
    postgres: Postgres, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The tables are there, and `/ready` asks for no more than that."""
    name = database_name(postgres_url)
    settings = Settings(secret=SECRET, database_url=postgres_url.replace("postgres@", "warden@"))
    with TestClient(create_app(Settings(secret=SECRET, database_url=postgres_url))):
        pass
    postgres.execute("postgres", "CREATE ROLE warden LOGIN")
    postgres.execute(name, "GRANT SELECT, INSERT, UPDATE, DELETE ON users TO warden")
    with TestClient(create_app(settings), headers=bearer(token_of("ada"))) as ada:
        denied: list[list[str]] = []
        for tables in ("tasks", "change_clocks", "deleted_tasks"):
            caplog.clear()
            found = answers(ada)
            denied.append(re.findall(r": permission denied for table (\w+) \(42501\)$", caplog.text, re.M))
            assert found.count((503, UNREACHABLE)) == len(denied[-1])
            postgres.execute(name, f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO warden")
        assert [status for status, _ in answers(ada)] == WELL
    assert denied == [
        [*["tasks"] * 2, "change_clocks", "tasks", *["change_clocks"] * 4],
        ["change_clocks"] * 5,
        ["deleted_tasks"] * 2,
    ]
    postgres.execute(name, "DROP OWNED BY warden")
    postgres.execute("postgres", "DROP ROLE warden")
