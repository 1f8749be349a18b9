"""A hot standby: what only reads works there, and nothing is written to it."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

import release
from app import create_app
from migrations import VERSION_TABLE
from settings import Settings
from tests.conftest import RowsOf, database_name
from tests.support.servers import Postgres, Standby
from tests.support.tokens import SECRET, bearer, token_of

ADA = bearer(token_of("ada"))


@pytest.fixture(scope="module")
def standby(postgres: Postgres) -> Iterator[Standby]:
    with Standby(postgres) as server:
        yield server


@pytest.fixture
def release_to(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    return monkeypatch


def test_start_ready_release_and_reads_work_on_a_standby(
    postgres: Postgres, standby: Standby, postgres_url: str, release_to: pytest.MonkeyPatch
) -> None:
    with TestClient(create_app(Settings(secret=SECRET, database_url=postgres_url)), headers=ADA) as ada:
        task = ada.post("/api/tasks", json={"title": "Write"}).json()
    standby.catch_up(postgres)
    url = standby.url(database_name(postgres_url))
    release_to.setenv("DATABASE_URL", url)

    release.main()
    with TestClient(create_app(Settings(secret=SECRET, database_url=url)), headers=ADA) as ada:
        answers = [ada.get(path) for path in ("/ready", "/api/tasks", f"/api/tasks/{task['id']}")]
        written = ada.post("/api/tasks", json={"title": "Refused"})

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[1].json() == [task]
    assert written.status_code == 503


def test_tables_of_a_standby_are_not_brought_up_to_date(
    postgres: Postgres, standby: Standby, postgres_url: str, release_to: pytest.MonkeyPatch, rows_of: RowsOf
) -> None:
    release_to.setenv("DATABASE_URL", postgres_url)
    release.main()
    rows_of(postgres_url, f"DROP TABLE {VERSION_TABLE}")
    standby.catch_up(postgres)
    release_to.setenv("DATABASE_URL", standby.url(database_name(postgres_url)))

    with pytest.raises(SystemExit) as exit_:
        release.main()

    assert str(exit_.value) == (
        "Cannot prepare the database: the tables cannot be brought up to date: "
        "cannot execute CREATE TABLE in a read-only transaction (25006)"
    )
