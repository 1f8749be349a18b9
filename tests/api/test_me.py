"""GET and DELETE /api/me: what is kept of a person, and the end of it."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tables import TABLES
from tests.api.test_accounts import BETTER_AUTH
from tests.conftest import Rows, database_name
from tests.support.servers import Postgres
from tests.support.tasks import create
from tests.support.tokens import FRONTEND, SECRET, bearer, token_of
from web.users import UserRows

pytestmark = pytest.mark.database("two")

NEW = {"title": "Write"}
TOO_OLD = {"detail": "This `since` is too old; start over without it, and drop the tasks that you have."}
ME = {"id": "ada", "email": "ada@example.com", "name": "Ada", "tasks": 0, "task_limit": None}
OWNED = [name for name in TABLES if name != "users"]


def fill(client: TestClient) -> None:
    """With a row in each table."""
    create(client)
    deleted = create(client)
    assert client.delete(f"/api/tasks/{deleted['id']}").status_code == 204
    assert client.post("/api/tasks", json={"title": "Once"}, headers={"Idempotency-Key": "k"}).status_code == 201


def counts(rows: Rows, user_id: str) -> list[int]:
    return [int(rows(f"SELECT count(*) FROM {name} WHERE user_id = '{user_id}'")[0][0]) for name in OWNED]


def test_people_are_told_what_is_kept_of_them(ada: TestClient, bob: TestClient) -> None:
    create(bob)
    assert (answer := ada.get("/api/me")).status_code == 200
    assert answer.json() == ME
    create(ada)
    assert ada.get("/api/me").json() == {**ME, "tasks": 1}


def test_people_are_told_their_limit(settings: Settings) -> None:
    with TestClient(create_app(replace(settings, task_limit=7)), headers=bearer(token_of("ada"))) as ada:
        assert ada.get("/api/me").json() == {**ME, "task_limit": 7}


def test_a_person_whose_row_was_deleted_is_there_again(ada: TestClient, rows: Rows) -> None:
    create(ada)
    rows("DELETE FROM users WHERE id = 'ada'")
    assert ada.get("/api/me").json() == ME


@pytest.mark.parametrize(("times", "read", "made"), [(2, 200, 201), (100, 503, 503)])
def test_a_person_may_be_deleted_in_the_middle_of_a_request(
    app: Starlette, ada: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch, times: int, read: int, made: int
) -> None:
    """By another request: so many times after the row was made anew."""
    user_rows: UserRows = app.state.user_rows
    restore = user_rows.restore
    left: Iterator[int]

    async def restore_and_lose(*arguments: Any) -> None:
        await restore(*arguments)
        if next(left, None) is not None:
            rows("DELETE FROM users WHERE id = 'ada'")

    ada.get("/api/tasks")
    monkeypatch.setattr(user_rows, "restore", restore_and_lose)
    for answer, status in ((partial(ada.get, "/api/me"), read), (partial(ada.post, "/api/tasks", json=NEW), made)):
        rows("DELETE FROM users WHERE id = 'ada'")
        left = iter(range(times))
        assert answer().status_code == status


def test_everything_of_the_person_is_deleted_and_nothing_of_others(
    ada: TestClient, bob: TestClient, rows: Rows
) -> None:
    fill(ada)
    fill(bob)
    before = counts(rows, "bob")

    answer = ada.delete("/api/me")

    assert (answer.status_code, answer.content) == (204, b"")
    assert counts(rows, "ada") == [0] * len(OWNED)
    assert rows("SELECT id FROM users") == [("bob",)]
    assert counts(rows, "bob") == before
    assert 0 not in before
    assert ada.get("/api/me").json() == ME
    assert ada.delete("/api/me").status_code == 204
    assert create(ada)["title"] == "Write"


def test_a_second_deletion_is_no_error_where_another_process_remembers_the_row(settings: Settings) -> None:
    """As it does a person whose row is gone."""
    headers = bearer(token_of("ada"))
    with (
        TestClient(create_app(settings), headers=headers) as one,
        TestClient(create_app(settings), headers=headers) as other,
    ):
        fill(one)
        assert other.get("/api/tasks").status_code == 200
        assert [client.delete("/api/me").status_code for client in (one, other)] == [204, 204]
        assert create(other)["title"] == "Write"
        assert one.get("/api/me").json() == {**ME, "tasks": 1}


def test_deleted_tasks_make_room_again(settings: Settings) -> None:
    with TestClient(create_app(replace(settings, task_limit=1)), headers=bearer(token_of("ada"))) as ada:
        create(ada)
        assert ada.post("/api/tasks", json={"title": "Another"}).status_code == 403
        ada.delete("/api/me")
        assert create(ada)["title"] == "Write"


@pytest.mark.parametrize("first", ["poll", "create"])
def test_who_follows_starts_over(ada: TestClient, first: str) -> None:
    """Deletions are forgotten with everything else, so a token of before must not be taken for a new one."""
    create(ada)
    token = ada.get("/api/changes").json()["token"]
    ada.delete("/api/me")
    if first == "create":
        create(ada)

    old = ada.get("/api/changes", params={"since": token})
    new = ada.get("/api/changes").json()
    create(ada)
    later = ada.get("/api/changes", params={"since": new["token"]})

    assert (old.status_code, old.json()) == (410, TOO_OLD)
    assert len(new["tasks"]) == (first == "create")
    assert (later.status_code, len(later.json()["tasks"]), later.json()["deleted"]) == (200, 1, [])


def test_a_table_of_users_that_better_auth_keeps_is_left_alone(postgres: Postgres, postgres_url: str) -> None:
    name = database_name(postgres_url)
    postgres.execute(name, BETTER_AUTH)
    users = postgres.execute(name, "SELECT * FROM users")
    settings = Settings(secret=SECRET, frontend_url=FRONTEND, database_url=postgres_url, pool_size=2)
    with TestClient(create_app(settings), headers=bearer(token_of("ada"))) as ada:
        fill(ada)
        token = ada.get("/api/changes").json()["token"]
        assert ada.delete("/api/me").status_code == 204
        left = [postgres.execute(name, f"SELECT count(*) FROM {table}") for table in OWNED]
        assert postgres.execute(name, "SELECT * FROM users") == users
        assert create(ada)["title"] == "Write"
        assert ada.get("/api/changes", params={"since": token}).status_code == 410

    assert left == [[(0,)]] * len(OWNED)


def test_a_table_that_better_auth_took_over_since_the_start_is_left_alone(
    postgres: Postgres, postgres_url: str
) -> None:
    name = database_name(postgres_url)
    settings = Settings(secret=SECRET, frontend_url=FRONTEND, database_url=postgres_url, pool_size=2)
    with TestClient(create_app(settings), headers=bearer(token_of("ada"))) as ada:
        create(ada)
        postgres.execute(name, 'ALTER TABLE users ADD "emailVerified" boolean')
        assert ada.delete("/api/me").status_code == 204
        assert ada.get("/api/me").json() == ME

    assert postgres.execute(name, "SELECT id FROM users") == [("ada",)]


@pytest.mark.database("any")
def test_nothing_is_deleted_without_a_token(app: Starlette, ada: TestClient, rows: Rows) -> None:
    create(ada)
    assert TestClient(app).delete("/api/me").status_code == 401
    assert rows("SELECT user_id FROM tasks") == [("ada",)]
