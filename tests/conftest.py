"""A fresh database for each test, on SQLite, on PostgreSQL and on PostgreSQL through PgBouncer.

A test that asks for `database_url` (or anything built on it) runs once on each of them.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.support.documented import AnswerLog
from tests.support.isolation import StatementLog, constrains_owner
from tests.support.proxy import Proxy
from tests.support.servers import PgBouncer, Postgres
from tests.support.tokens import FRONTEND, SECRET, bearer, token_of

DATABASES = ("sqlite", "postgresql", "pgbouncer")


def missing(what: str) -> None:
    """Skip on a developer's machine; fail where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and under CI nothing is skipped")
    pytest.skip(f"{what} is not installed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=DATABASES, help="run the tests that need a database on this one only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_kind" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--database")
        metafunc.parametrize("database_kind", [chosen] if chosen else DATABASES, scope="session")


@pytest.fixture(scope="session", autouse=True)
def every_statement_constrains_the_owner() -> Iterator[None]:
    """Fail the run when any statement of the whole suite could have reached somebody else's task."""
    log = StatementLog()
    yield
    log.close()
    assert [statement for statement in log.statements if not constrains_owner(statement)] == []


@pytest.fixture(scope="session", autouse=True)
def every_answer_is_documented() -> Iterator[None]:
    """Fail the run when the app answered anything, in any test, that the OpenAPI document does not know."""
    log = AnswerLog()
    yield
    log.close()
    assert log.undocumented == set()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer(postgres: Postgres) -> Iterator[PgBouncer]:
    if not PgBouncer.available():
        missing("pgbouncer")
    with PgBouncer(postgres) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A fresh database on PostgreSQL."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of the kind that this run of the test is for."""
    if database_kind == "sqlite":
        return f"sqlite:///{tmp_path}/todo.db"
    url: str = request.getfixturevalue("postgres_url")
    if database_kind == "postgresql":
        return url
    bouncer: PgBouncer = request.getfixturevalue("pgbouncer")
    return bouncer.url(database_name(url))


def database_name(url: str) -> str:
    return url.rpartition("/")[2]


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[Proxy]:
    with Proxy(postgres.port) as proxy:
        yield proxy


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(secret=SECRET, frontend_url=FRONTEND, database_url=database_url)


@pytest.fixture
def app(settings: Settings) -> Starlette:
    return create_app(settings)


@pytest.fixture
def client(app: Starlette) -> Iterator[TestClient]:
    """Nobody's client: no token."""
    with TestClient(app) as client:
        yield client


@pytest.fixture
def sign_in(client: TestClient, app: Starlette) -> Callable[[str], TestClient]:
    """Give a person's client, in the event loop of `client`."""

    def client_of(user_id: str) -> TestClient:
        person = TestClient(app, headers=bearer(token_of(user_id)))
        person.portal = client.portal
        return person

    return client_of


@pytest.fixture
def ada(sign_in: Callable[[str], TestClient]) -> TestClient:
    return sign_in("ada")


@pytest.fixture
def bob(sign_in: Callable[[str], TestClient]) -> TestClient:
    """Somebody else."""
    return sign_in("bob")


Rows = Callable[[str], list[tuple[Any, ...]]]
RowsOf = Callable[[str, str], list[tuple[Any, ...]]]


@pytest.fixture
def rows_of(postgres: Postgres) -> RowsOf:
    """Look into (or change) the rows of a database, past the app."""

    def run(database_url: str, sql: str) -> list[tuple[Any, ...]]:
        path = database_url.removeprefix("sqlite:///")
        if path == database_url:
            return postgres.execute(database_name(database_url), sql)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = ON")
            return connection.execute(sql).fetchall()

    return run


@pytest.fixture
def rows(rows_of: RowsOf, database_url: str) -> Rows:
    """Look into (or change) the stored rows of the test's database, past the app."""
    return partial(rows_of, database_url)
