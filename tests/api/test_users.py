"""The table of users: who gets a row, and how it follows the tokens."""

import time

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from queries.accounts import USER_ATTEMPTS
from tests.conftest import Rows
from tests.support.asgi import call_at_once
from tests.support.tokens import bearer, token_of

USERS = "SELECT id, email, name FROM users ORDER BY id"
ADA = ("ada", "ada@example.com", "Ada")

ROUTES = [
    pytest.param("GET", "/api/tasks", 200, id="list"),
    pytest.param("GET", "/api/tasks?limit=0", 400, id="bad-list"),
    pytest.param("POST", "/api/tasks", 201, id="create"),
    pytest.param("GET", "/api/tasks/1", 404, id="get"),
    pytest.param("PUT", "/api/tasks/1", 404, id="update"),
    pytest.param("PATCH", "/api/tasks/1/complete", 404, id="toggle"),
    pytest.param("DELETE", "/api/tasks/1", 404, id="delete"),
    pytest.param("GET", "/api/nothing", 404, id="nowhere"),
    pytest.param("PUT", "/api/tasks", 405, id="wrong-method"),
]


@pytest.mark.parametrize(("method", "path", "status"), ROUTES)
@pytest.mark.database("any")
def test_the_first_call_makes_the_row_whatever_it_is(
    ada: TestClient, rows: Rows, method: str, path: str, status: int
) -> None:
    response = ada.request(method, path, json={"title": "Write"})

    assert response.status_code == status
    assert rows(USERS) == [ADA]


@pytest.mark.parametrize(
    ("path", "token"),
    [
        pytest.param("/api/tasks", token_of("ada", exp=1), id="expired"),
        pytest.param("/api/tasks", token_of("ada") + "x", id="forged"),
        pytest.param("/health", token_of("ada"), id="outside-the-api"),
    ],
)
@pytest.mark.database("any")
def test_a_call_that_is_not_authenticated_makes_none(client: TestClient, rows: Rows, path: str, token: str) -> None:
    client.get(path, headers=bearer(token))
    client.get("/ready")

    assert rows(USERS) == []


def test_later_calls_leave_the_row_as_it_is(ada: TestClient, rows: Rows) -> None:
    ada.get("/api/tasks")
    before = rows("SELECT * FROM users")

    ada.post("/api/tasks", json={"title": "Write"})
    ada.get("/api/tasks", headers=bearer(token_of("ada", exp=4102444800)))

    assert rows("SELECT * FROM users") == before


@pytest.mark.parametrize(
    ("claims", "row"),
    [
        pytest.param({"email": "new@example.com"}, ("ada", "new@example.com", "Ada"), id="email"),
        pytest.param({"name": "Countess"}, ("ada", "ada@example.com", "Countess"), id="name"),
        pytest.param({"email": None}, ("ada", None, "Ada"), id="email-gone"),
        pytest.param({"name": None}, ("ada", "ada@example.com", None), id="name-gone"),
        pytest.param({"email": "", "name": " "}, ("ada", None, None), id="both-blank"),
        pytest.param(
            {"name": "\N{RED APPLE} Ä'\";--"}, ("ada", "ada@example.com", "\N{RED APPLE} Ä'\";--"), id="any-name"
        ),
    ],
)
def test_the_row_follows_the_token_there_and_back(
    ada: TestClient, rows: Rows, claims: dict[str, str | None], row: tuple[str | None, ...]
) -> None:
    task = ada.post("/api/tasks", json={"title": "Write"}).json()
    created_at = rows("SELECT created_at FROM users")

    changed = ada.get("/api/tasks", headers=bearer(token_of("ada", **claims)))
    assert (changed.json(), rows(USERS)) == ([task], [row])
    # Of this second, too: an older token would not count.
    ada.get("/api/tasks", headers=bearer(token_of("ada")))

    assert rows(USERS) == [ADA]
    assert rows("SELECT created_at FROM users") == created_at


def test_of_two_tokens_in_turn_the_one_issued_later_describes_the_person(client: TestClient, rows: Rows) -> None:
    """Be it the first to come or the second; a token that does not say when it was issued is the oldest."""
    now = int(time.time())
    tokens = {"Child": None, "Ada": now - 60, "Countess": now}
    undated, earlier, later = (bearer(token_of("ada", iat=iat, name=name)) for name, iat in tokens.items())
    stored = []
    for headers in (undated, earlier, undated, later, earlier, later):
        assert client.get("/api/tasks", headers=headers).status_code == 200
        stored += rows("SELECT name FROM users")

    assert stored == [("Child",), ("Ada",), ("Ada",), ("Countess",), ("Countess",), ("Countess",)]


def test_a_later_token_of_the_same_profile_counts_too(client: TestClient, rows: Rows) -> None:
    """One that was issued between the two is older than the profile that both have."""
    now = int(time.time())
    tokens = [("Ada", now - 60), ("Ada", now), ("Child", now - 30)]
    for name, iat in tokens:
        assert client.get("/api/tasks", headers=bearer(token_of("ada", iat=iat, name=name))).status_code == 200

    assert rows("SELECT name FROM users") == [("Ada",)]


def test_many_may_have_no_email(client: TestClient, rows: Rows) -> None:
    for user_id in ("ada", "bob"):
        assert client.get("/api/tasks", headers=bearer(token_of(user_id, email=None))).status_code == 200

    assert rows(USERS) == [("ada", None, "Ada"), ("bob", None, "Bob")]


def test_an_email_that_moves_to_another_id_takes_no_tasks_along(ada: TestClient, rows: Rows) -> None:
    """Two accounts are never merged by email: the old row gives it up and keeps its tasks."""
    task = ada.post("/api/tasks", json={"title": "Hers"}).json()
    successor = bearer(token_of("eve", email="ada@example.com"))

    theirs = ada.get("/api/tasks", headers=successor)
    found = ada.get(f"/api/tasks/{task['id']}", headers=successor)

    assert (theirs.json(), found.status_code) == ([], 404)
    assert ada.get("/api/tasks").json() == [task]
    assert rows(USERS) == [("ada", None, "Ada"), ("eve", "ada@example.com", "Eve")]
    assert rows("SELECT user_id FROM tasks") == [("ada",)]


@pytest.mark.usefixtures("client")
def test_first_calls_at_once_make_one_row(app: Starlette, rows: Rows) -> None:
    call = {"method": "POST", "url": "/api/tasks", "json": {"title": "Write"}, "headers": bearer(token_of("ada"))}

    responses = call_at_once(app, [call] * 50)

    assert [response.status_code for response in responses] == [201] * 50
    assert rows(USERS) == [ADA]
    assert rows("SELECT count(*) FROM tasks") == [(50,)]


@pytest.mark.usefixtures("client")
def test_changes_of_one_row_at_once_are_no_error(app: Starlette, rows: Rows) -> None:
    names = [f"Ada {number}" for number in range(50)]
    calls = [{"method": "GET", "url": "/api/tasks", "headers": bearer(token_of("ada", name=name))} for name in names]

    responses = call_at_once(app, calls)

    assert [response.status_code for response in responses] == [200] * 50
    ((_, email, name),) = rows(USERS)
    assert email == "ada@example.com"
    assert name in names


@pytest.mark.usefixtures("client")
def test_people_who_claim_one_email_at_once_all_get_in(app: Starlette, rows: Rows) -> None:
    people = [f"person-{number}" for number in range(USER_ATTEMPTS)]
    calls = [
        {"method": "GET", "url": "/api/tasks", "headers": bearer(token_of(person, email="one@example.com"))}
        for person in people
    ]

    responses = call_at_once(app, calls)

    assert [response.status_code for response in responses] == [200] * len(people)
    assert rows("SELECT id FROM users ORDER BY id") == [(person,) for person in people]
    assert rows("SELECT email FROM users WHERE email IS NOT NULL") == [("one@example.com",)]


def test_a_row_deleted_under_a_running_process_comes_back_with_the_next_task(ada: TestClient, rows: Rows) -> None:
    ada.post("/api/tasks", json={"title": "Lost with the row"})
    rows("DELETE FROM users WHERE id = 'ada'")
    assert ada.get("/api/tasks").json() == []

    response = ada.post("/api/tasks", json={"title": "Kept"})

    assert response.status_code == 201
    assert rows(USERS) == [ADA]
    assert rows("SELECT user_id, title FROM tasks") == [("ada", "Kept")]


def test_no_more_than_so_many_users_are_remembered(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forgotten user is looked up again, so that the deleted row comes back without a new task."""
    monkeypatch.setattr("web.users.REMEMBERED_USERS", 2)
    people = ["ada", "bob", "eve"]
    for person in people:
        client.get("/api/tasks", headers=bearer(token_of(person)))

    rows("DELETE FROM users")
    # From the latest to the oldest, because each forgotten user who returns displaces another one.
    for person in reversed(people):
        client.get("/api/tasks", headers=bearer(token_of(person)))

    assert rows("SELECT id FROM users") == [("ada",)]
