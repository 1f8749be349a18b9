"""The app and its people, for each test on a fresh database; see `tests/support/databases.py`.

With --quick, tests use SQLite, and those that start a server, a browser or npm are left out.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.support.documented import AnswerLog
from tests.support.isolation import StatementLog, constrains_owner
from tests.support.processes import Process, missing
from tests.support.rows import Rows, RowsOf, database_name
from tests.support.servers import memory
from tests.support.tokens import FRONTEND, SECRET, bearer, token_of

__all__ = ["Rows", "RowsOf", "database_name", "missing"]

pytest_plugins = ["tests.support.databases"]

# Folders whose tests see the app as a process, or parts of it as they are tested elsewhere; the longest come first.
FROM_OUTSIDE = ("faults", "browser", "attacks")
BUILDS_THE_EXAMPLE = "test_example_on_postgresql"
CONTAINERS = Path(__file__).parent / "containers"
LEFT_OUT = "starts a server, a browser or npm"


def pytest_addoption(parser: pytest.Parser) -> None:
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
    """Long tests come first, so that no core is left alone with one in the end; and before all, what others wait for.

    Their processes are what they are about, which coverage does not see; it would only slow them down.
    """
    for item in items:
        if item.path.parent.name in FROM_OUTSIDE:
            item.add_marker("no_cover")
    rank = {folder: number for number, folder in enumerate(FROM_OUTSIDE)}

    def order(item: pytest.Item) -> tuple[bool, int, bool]:
        folder = rank.get(item.path.parent.name, len(rank))
        return item.name != BUILDS_THE_EXAMPLE, folder, item.get_closest_marker("no_cover") is None

    items.sort(key=order)


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
