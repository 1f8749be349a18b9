"""A fresh database for each test, on SQLite, on PostgreSQL and on PostgreSQL through PgBouncer.

A test that asks for `database_url` (or anything built on it) runs once on each of them, or on SQLite alone when it is
marked `database("any")`. With --quick, tests use SQLite, and those that start a server, a browser or npm are left out.
"""

import os
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.support.documented import AnswerLog
from tests.support.isolation import StatementLog, constrains_owner
from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.servers import PgBouncer, Postgres, memory
from tests.support.tokens import FRONTEND, SECRET, bearer, token_of

DATABASES = ("sqlite", "postgresql", "pgbouncer")
# Folders whose tests see the app as a process, or parts of it as they are tested elsewhere.
FROM_OUTSIDE = ("attacks", "browser", "faults")
CONTAINERS = Path(__file__).parent / "containers"
LEFT_OUT = "starts a server, a browser or npm"


def missing(what: str) -> None:
    """Skip on a developer's machine; fail where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and under CI nothing is skipped")
    pytest.skip(f"{what} is not installed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=DATABASES, help="run the tests that need a database on this one only")
    parser.addoption("--docker", action="store_true", help="collect tests/containers, which need a Docker Engine")
    parser.addoption("--quick", action="store_true", help="leave out what starts a server, a browser or npm")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Containers are built and run only where they are asked for."""
    asked_for = config.getoption("--docker") or CONTAINERS not in (collection_path, *collection_path.parents)
    return None if asked_for else True


def pytest_configure(config: pytest.Config) -> None:
    # SQLite waits for the disk with each commit. A folder that was chosen stays chosen.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", memory() or tempfile.gettempdir())
    if config.getoption("--quick"):
        Process.before_start = staticmethod(partial(pytest.skip, LEFT_OUT))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = [report for report in terminalreporter.stats.get("skipped", []) if LEFT_OUT in str(report.longrepr)]
    if config.getoption("--quick"):
        terminalreporter.write_line(
            f"Left out were PostgreSQL and the {len(left_out)} tests that start a server, a browser or npm."
        )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", kinds_for(metafunc), scope="session")


def kinds_for(metafunc: pytest.Metafunc) -> Sequence[str]:
    if chosen := metafunc.config.getoption("--database"):
        return [str(chosen)]
    marker = metafunc.definition.get_closest_marker("database")
    alone = metafunc.config.getoption("--quick") or (marker and marker.args == ("any",))
    return ["sqlite"] if alone else DATABASES


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Have `no_cover` work in the workers of pytest-xdist, where pytest-cov 7 measures twice and pauses once."""
    if item.get_closest_marker("no_cover") is None:
        return (yield)
    here, threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(here)
        threading.settrace(threads)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests come first, so that no core is left alone with one in the end.

    Their processes are what they are about, which coverage does not see; it would only slow them down.
    """
    for item in items:
        if item.path.parent.name in FROM_OUTSIDE:
            item.add_marker("no_cover")
    items.sort(key=lambda item: item.get_closest_marker("no_cover") is None)


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


@pytest.fixture(scope="session")
def emptied() -> list[str]:
    """Databases on PostgreSQL that are as good as new."""
    return []


@pytest.fixture
def postgres_url(postgres: Postgres, emptied: list[str]) -> Iterator[str]:
    """A fresh database on PostgreSQL."""
    name = emptied.pop() if emptied else postgres.create_database()
    yield postgres.url(name)
    try:
        postgres.empty(name)
        emptied.append(name)
    except psycopg2.Error:
        # The test has left it so that this cannot be done, read-only for example.
        postgres.drop_database(name)


@pytest.fixture
def pgbouncer_url(postgres: Postgres, pgbouncer: PgBouncer) -> Iterator[str]:
    """A new database on PostgreSQL through PgBouncer, which would keep connections to one that is used again."""
    name = postgres.create_database()
    yield pgbouncer.url(name)
    postgres.drop_database(name)


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of the kind that this run of the test is for."""
    if database_kind == "sqlite":
        return f"sqlite:///{tmp_path}/todo.db"
    fixture = "postgres_url" if database_kind == "postgresql" else "pgbouncer_url"
    return str(request.getfixturevalue(fixture))


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
    """A client without a token."""
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
    """The client of another person."""
    return sign_in("bob")


Rows = Callable[[str], list[tuple[Any, ...]]]
RowsOf = Callable[[str, str], list[tuple[Any, ...]]]


@pytest.fixture
def rows_of(request: pytest.FixtureRequest) -> RowsOf:
    """Look into (or change) the rows of a database, past the app."""

    def run(database_url: str, sql: str) -> list[tuple[Any, ...]]:
        path = database_url.removeprefix("sqlite:///")
        if path == database_url:
            postgres: Postgres = request.getfixturevalue("postgres")
            return postgres.execute(database_name(database_url), sql)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = ON")
            return connection.execute(sql).fetchall()

    return run


@pytest.fixture
def rows(rows_of: RowsOf, database_url: str) -> Rows:
    """Look into (or change) the stored rows of the test's database, past the app."""
    return partial(rows_of, database_url)
