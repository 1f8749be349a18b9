"""A table of users that Better Auth keeps, and values that a database cannot hold."""

import logging

import pytest
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.conftest import database_name
from tests.support.servers import Postgres
from tests.support.tokens import FRONTEND, SECRET, bearer, outcome, refusal, token_of

# As Better Auth 1.7 makes it.
BETTER_AUTH = """
CREATE TABLE users (id text PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE,
    "emailVerified" boolean NOT NULL, image text,
    "createdAt" timestamptz NOT NULL DEFAULT now(), "updatedAt" timestamptz NOT NULL DEFAULT now());
INSERT INTO users (id, name, email, "emailVerified") VALUES ('ada', 'Ada', 'ada@example.com', true)
"""
UNKNOWN = refusal("The account that the token names does not exist; sign up, or sign in again.")
REFUSED = refusal("The database cannot store the account of this token; sign in with another one.")


def client_of(url: str) -> TestClient:
    return TestClient(create_app(Settings(secret=SECRET, frontend_url=FRONTEND, database_url=url, pool_size=2)))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/tasks"),
        ("POST", "/api/tasks"),
        ("GET", "/api/tasks/1"),
        ("DELETE", "/api/tasks/1"),
        ("GET", "/api/x"),
    ],
)
def test_a_token_of_an_account_that_is_not_there_is_refused(
    postgres: Postgres, postgres_url: str, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And nobody invents it."""
    name = database_name(postgres_url)
    postgres.execute(name, BETTER_AUTH)
    with client_of(postgres_url) as client, caplog.at_level(logging.WARNING):
        answer = client.request(method, path, headers=bearer(token_of("deleted")), json={"title": "Write"})
        known = client.get("/api/tasks", headers=bearer(token_of("ada", name="Countess")))

    assert outcome(answer) == UNKNOWN
    assert (known.status_code, known.json()) == (200, [])
    assert postgres.execute(name, "SELECT id, name FROM users") == [("ada", "Ada")]


def test_an_account_that_is_deleted_while_the_app_runs_gets_no_task(postgres: Postgres, postgres_url: str) -> None:
    name = database_name(postgres_url)
    postgres.execute(name, BETTER_AUTH)
    ada = bearer(token_of("ada"))
    with client_of(postgres_url) as client:
        created = client.post("/api/tasks", headers=ada, json={"title": "Write"})
        postgres.execute(name, "DELETE FROM users")
        refused = client.post("/api/tasks", headers=ada, json={"title": "Write"})

    assert created.status_code == 201
    assert outcome(refused) == UNKNOWN
    assert postgres.execute(name, "SELECT count(*) FROM users") == [(0,)]


def test_what_a_column_cannot_hold_is_a_400_and_the_profile_keeps_what_fits(
    postgres: Postgres, postgres_url: str
) -> None:
    name = database_name(postgres_url)
    with client_of(postgres_url) as client:
        client.get("/ready")
        postgres.execute(name, "ALTER TABLE tasks ALTER title TYPE varchar(5)")
        postgres.execute(name, "ALTER TABLE users ALTER name TYPE varchar(5), ALTER id TYPE varchar(9)")
        ada = bearer(token_of("ada", name="Augusta Ada"))
        fits = client.post("/api/tasks", headers=ada, json={"title": "Write"})
        too_long = client.post("/api/tasks", headers=ada, json={"title": "Write it down"})
        stranger = client.get("/api/tasks", headers=bearer(token_of("somebody with a long id")))

    message = (
        "has a value that the database refuses: value too long for type character varying(5) (22001);"
        " write it differently, shorter or in other characters"
    )
    assert fits.status_code == 201
    assert (too_long.status_code, too_long.json()) == (
        400,
        {"detail": f"body {message}.", "errors": [{"field": "body", "message": message}]},
    )
    assert outcome(stranger) == REFUSED
    assert postgres.execute(name, "SELECT email, name FROM users") == [("ada@example.com", None)]
