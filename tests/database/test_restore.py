"""A database that is restored elsewhere, and the clients that follow what changed since: none misses anything."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.conftest import RowsOf, database_name
from tests.database.following import Follower
from tests.support.backend import ROOT
from tests.support.servers import Postgres
from tests.support.tasks import create
from tests.support.tokens import SECRET, bearer, token_of

GONE = {"detail": "This `since` is too old; start over without it, and drop the tasks that you have."}
# What whoever restores a database runs on it: the statements of the page, that of PostgreSQL first.
PAGE = (ROOT / "docs/deployment.md").read_text()
FORGET = dict(zip(("postgresql", "sqlite"), re.findall(r"`(UPDATE change_clocks [^`]+)`", PAGE), strict=True))

Restore = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest) -> str:
    """That of the database that is dumped."""
    return str(request.getfixturevalue("sqlite_url" if kind == "sqlite" else "postgres_url"))


@pytest.fixture
def dump(url: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], Restore]]:
    """Dump the database; what is given restores it into a new one, and gives the URL of that."""
    if kind == "sqlite":
        path = url.removeprefix("sqlite:///")

        def copied() -> Restore:
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
                source.backup(copy)
            return lambda: f"sqlite:///{tmp_path}/copy.db"

        yield copied
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    name = postgres.create_database()

    def dumped() -> Restore:
        statements = postgres.dump(database_name(url))

        def restore() -> str:
            postgres.execute(name, statements)
            return postgres.url(name)

        return restore

    yield dumped
    postgres.drop_database(name)


@contextmanager
def served(url: str, person: str = "ada") -> Iterator[TestClient]:
    """The client of that person while the app runs on that database."""
    app = create_app(Settings(secret=SECRET, database_url=url))
    with TestClient(app, headers=bearer(token_of(person))) as client:
        yield client


def answer(client: TestClient, follower: Follower) -> tuple[int, Any]:
    found = client.get("/api/changes", params={"since": str(follower.token)})
    return found.status_code, found.json()


def new(client: TestClient, title: str) -> int:
    return int(create(client, title=title)["id"])


def test_a_client_from_before_the_dump_goes_on_and_misses_nothing(url: str, dump: Callable[[], Restore]) -> None:
    with served(url) as ada:
        first, second = new(ada, "First"), new(ada, "Second")
        follower = Follower(ada)
        follower.news()
        ada.delete(f"/api/tasks/{first}")
        third = new(ada, "Third")
        restore = dump()
        new(ada, "Lost")

    with served(restore()) as ada:
        goes_on = Follower(ada, follower.token)
        before = goes_on.news()
        assert ada.patch(f"/api/tasks/{second}", json={"completed": True}).status_code == 200
        assert ada.delete(f"/api/tasks/{third}").status_code == 204
        after = goes_on.news()

    assert before == ([third], [first])
    assert after == ([second], [third])


@pytest.mark.parametrize("limit", [500, 1], ids=["at-the-end", "half-way"])
def test_a_client_from_after_the_dump_starts_over(url: str, dump: Callable[[], Restore], limit: int) -> None:
    """Where it asks before anything is changed in the restored database."""
    with served(url) as ada:
        kept = new(ada, "Kept")
        restore = dump()
        new(ada, "Lost")
        follower = Follower(ada)
        follower.ask(limit)

    with served(restore()) as ada:
        found = answer(ada, follower)
        assert found == (410, GONE)
        assert Follower(ada).news() == ([kept], [])


def test_a_client_of_whom_nothing_was_known_yet_starts_over(url: str, dump: Callable[[], Restore]) -> None:
    """Also after the first change."""
    with served(url):
        restore = dump()
    with served(url, "bob") as bob:
        new(bob, "Lost")
        follower = Follower(bob)
        follower.news()

    with served(restore(), "bob") as bob:
        assert [answer(bob, follower) for _ in range(2)] == [(410, GONE)] * 2


def test_whoever_restores_a_database_has_all_clients_start_over(
    kind: str, url: str, dump: Callable[[], Restore], rows_of: RowsOf
) -> None:
    """Whenever they ask; the tokens that they are given then are good."""
    with served(url) as ada:
        new(ada, "Kept")
        before = Follower(ada)
        before.news()
        restore = dump()
        new(ada, "Lost")
        after = Follower(ada)
        after.news()
    restored = restore()
    with served(restored):
        rows_of(restored, FORGET[kind])

    with served(restored) as ada:
        at_once = [answer(ada, each) for each in (before, after)]
        anew = Follower(ada)
        anew.news()
        changed = new(ada, "New")
        later = [answer(ada, each) for each in (before, after)]

        assert at_once + later == [(410, GONE)] * 4
        assert anew.news() == ([changed], [])
