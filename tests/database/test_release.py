"""`python -m release`: a sentence for what it cannot do, and indexes that keep nobody waiting."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from starlette.testclient import TestClient

import release
from app import create_app
from settings import Settings
from tests.conftest import RowsOf, database_name
from tests.database.foreign import tables
from tests.support.servers import Postgres
from tests.support.tokens import SECRET, bearer, token_of

ADA = bearer(token_of("ada"))
INDEXES = (
    "SELECT c.relname, i.indisvalid FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid"
    " WHERE i.indrelid = 'tasks'::regclass AND NOT i.indisprimary ORDER BY c.relname"
)
ALL_OF_THEM = [
    (f"ix_tasks_user_id_{name}", True) for name in ("completed", "created_at", "due_date", "title", "updated_at")
]
WITHOUT_TITLE = [each for each in ALL_OF_THEM if each != ("ix_tasks_user_id_title", True)]

Release = Callable[[str], None]


@pytest.fixture
def release_to(monkeypatch: pytest.MonkeyPatch) -> Release:
    """Run the command for a database."""

    def run(url: str) -> None:
        monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
        monkeypatch.setenv("DATABASE_URL", url)
        release.main()

    return run


@pytest.fixture
def role(postgres: Postgres, postgres_url: str) -> Iterator[str]:
    """The URL of the database for a role that may not create anything in it."""
    postgres.execute("postgres", "CREATE ROLE clerk LOGIN")
    yield postgres_url.replace("postgres@", "clerk@")
    postgres.execute(database_name(postgres_url), "DROP OWNED BY clerk")
    postgres.execute("postgres", "DROP ROLE clerk")


@pytest.mark.database("bare")
def test_tables_of_another_program_are_an_exit_with_a_sentence(
    release_to: Release, database_url: str, rows_of: RowsOf
) -> None:
    for statement in tables("sqlite" if "sqlite" in database_url else "postgresql", {"tasks.title": None}):
        rows_of(database_url, statement)

    with pytest.raises(SystemExit) as exit_:
        release_to(database_url)

    assert str(exit_.value) == (
        "Cannot prepare the database: the table tasks has no column title; if the table belongs to another program, "
        "give this app a database or a schema of its own"
    )


def test_a_role_that_may_not_create_tables_is_an_exit_with_a_sentence(release_to: Release, role: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        release_to(role)

    assert str(exit_.value) == (
        "Cannot prepare the database: tables are missing and cannot be created: permission denied for schema public "
        "(42501); grant this role CREATE, or run `python -m release` as the owner of the tables"
    )


def test_a_role_needs_no_more_than_to_use_the_tables(
    release_to: Release, role: str, postgres_url: str, rows_of: RowsOf, caplog: pytest.LogCaptureFixture
) -> None:
    """Which another role has made. What is missing is said at start, in a sentence."""
    release_to(postgres_url)
    rows_of(postgres_url, "GRANT SELECT, INSERT, UPDATE, DELETE ON users, tasks, idempotency_keys TO clerk")
    rows_of(postgres_url, "GRANT SELECT, INSERT ON deleted_tasks TO clerk")
    with TestClient(create_app(Settings(secret=SECRET, database_url=role)), headers=ADA) as ada:
        assert ada.get("/api/tasks").json() == []
        refused = ada.post("/api/tasks", json={"title": "Write"})
    rows_of(postgres_url, "GRANT SELECT, INSERT, UPDATE, DELETE ON change_clocks, deleted_tasks TO clerk")

    release_to(role)

    sentence = (
        "The role in DATABASE_URL lacks rights, for which requests get a 503; as the owner of the tables, run "
        "GRANT SELECT, INSERT, UPDATE, DELETE ON change_clocks, deleted_tasks TO that role."
    )
    assert refused.status_code == 503
    assert caplog.messages.count(sentence) == 1
    assert [line for line in caplog.messages if line.endswith(": permission denied for table change_clocks (42501)")]
    with TestClient(create_app(Settings(secret=SECRET, database_url=role)), headers=ADA) as ada:
        task = ada.post("/api/tasks", json={"title": "Write"}).json()
        assert ada.patch(f"/api/tasks/{task['id']}", json={"completed": True}).json()["completed"] is True
        assert ada.delete(f"/api/tasks/{task['id']}").status_code == 204
        assert ada.get("/api/changes").json()["tasks"] == []
        assert ada.get("/ready").status_code == 200
    assert caplog.messages.count(sentence) == 1


def test_a_role_that_may_not_build_an_index_is_an_exit_with_a_sentence(
    release_to: Release, role: str, postgres_url: str, rows_of: RowsOf
) -> None:
    release_to(postgres_url)
    rows_of(postgres_url, "DROP INDEX ix_tasks_user_id_title")

    with pytest.raises(SystemExit) as exit_:
        release_to(role)

    assert str(exit_.value) == (
        "Cannot prepare the database: the tables cannot be brought up to date: must be owner of table tasks (42501); "
        "grant this role CREATE, or run `python -m release` as the owner of the tables"
    )


def test_missing_indexes_are_built(
    release_to: Release, postgres_url: str, rows_of: RowsOf, caplog: pytest.LogCaptureFixture
) -> None:
    """Of tables of an earlier version; the app works meanwhile, and says what to do."""
    release_to(postgres_url)
    for name in ("title", "due_date"):
        rows_of(postgres_url, f"DROP INDEX ix_tasks_user_id_{name}")

    with TestClient(create_app(Settings(secret=SECRET, database_url=postgres_url)), headers=ADA) as ada:
        assert ada.get("/api/tasks?sort=title").json() == []
        assert ada.get("/ready").status_code == 200
    release_to(postgres_url)

    remark = (
        "Long lists are slow without ix_tasks_user_id_due_date and ix_tasks_user_id_title; `python -m release` "
        "builds them."
    )
    assert caplog.messages.count(remark) == 1
    assert rows_of(postgres_url, INDEXES) == ALL_OF_THEM


def test_what_a_broken_attempt_left_is_built_again(release_to: Release, postgres_url: str, rows_of: RowsOf) -> None:
    """CREATE INDEX CONCURRENTLY, broken off, leaves an index that is kept up to date and never used."""
    release_to(postgres_url)
    rows_of(
        postgres_url,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_tasks_user_id_title'::regclass",
    )

    release_to(postgres_url)

    assert rows_of(postgres_url, INDEXES) == ALL_OF_THEM


def test_missing_indexes_of_partitions_are_built(release_to: Release, postgres_url: str, rows_of: RowsOf) -> None:
    """One was left half built, and one is there already."""
    release_to(postgres_url)
    rows_of(postgres_url, "ALTER TABLE tasks RENAME TO former_tasks")
    rows_of(postgres_url, "CREATE TABLE tasks (LIKE former_tasks INCLUDING ALL) PARTITION BY HASH (user_id)")
    for number in range(2):
        rows_of(
            postgres_url,
            f"CREATE TABLE tasks_{number} PARTITION OF tasks FOR VALUES WITH (MODULUS 2, REMAINDER {number})",
        )
    rows_of(
        postgres_url,
        "DO $$ DECLARE name text; BEGIN FOR name IN SELECT indexrelid::regclass::text FROM pg_index"
        " WHERE indrelid = 'tasks'::regclass AND NOT indisprimary LOOP EXECUTE 'DROP INDEX ' || name; END LOOP; END $$",
    )
    rows_of(postgres_url, "DROP TABLE former_tasks")
    [(oid,)] = rows_of(postgres_url, "SELECT 'tasks_0'::regclass::oid")
    for name in ("completed", "created_at"):
        index = f"ix_tasks_user_id_{name}_{oid}"
        columns = (
            "user_id, completed, created_at DESC, id DESC"
            if name == "completed"
            else "user_id, created_at DESC, id DESC"
        )
        rows_of(postgres_url, f"CREATE INDEX {index} ON tasks_0 ({columns})")
    rows_of(postgres_url, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}'::regclass")

    release_to(postgres_url)

    assert rows_of(postgres_url, INDEXES) == ALL_OF_THEM
    assert rows_of(postgres_url, INDEXES.replace("'tasks'", "'tasks_0'")) == [
        (f"{name}_{oid}", valid) for name, valid in ALL_OF_THEM
    ]


def test_tables_that_are_views_have_no_indexes(release_to: Release, postgres_url: str, rows_of: RowsOf) -> None:
    release_to(postgres_url)
    rows_of(postgres_url, "ALTER TABLE tasks RENAME TO stored_tasks")
    rows_of(postgres_url, "CREATE VIEW tasks AS SELECT * FROM stored_tasks")

    release_to(postgres_url)

    assert rows_of(postgres_url, INDEXES) == []


def test_writers_go_on_while_an_index_is_built(
    release_to: Release, postgres: Postgres, postgres_url: str, rows_of: RowsOf
) -> None:
    """The build waits for a transaction that is open, and nobody waits for the build."""
    release_to(postgres_url)
    name = database_name(postgres_url)
    postgres.execute(name, "DROP INDEX ix_tasks_user_id_title")
    postgres.execute(name, "INSERT INTO users (id) VALUES ('ada')")
    insert = (
        "INSERT INTO tasks (user_id, title, created_at, updated_at)"
        " VALUES ('ada', 'Meanwhile', now(), now()) RETURNING title"
    )
    with closing(psycopg2.connect(postgres_url)) as other, other.cursor() as cursor:
        cursor.execute(insert)
        build = threading.Thread(target=release_to, args=[postgres_url])
        build.start()
        while rows_of(postgres_url, INDEXES) == WITHOUT_TITLE:
            time.sleep(0.01)
        written = postgres.execute(name, f"SET lock_timeout = '10s'; {insert}")
        unfinished = rows_of(postgres_url, INDEXES)
        other.commit()
    build.join(60)

    assert written == [("Meanwhile",)]
    assert unfinished == sorted([*WITHOUT_TITLE, ("ix_tasks_user_id_title", False)])
    assert rows_of(postgres_url, INDEXES) == ALL_OF_THEM


def test_an_index_whose_name_is_taken_is_built_anew(release_to: Release, rows_of: RowsOf, tmp_path: Any) -> None:
    """A table that was renamed keeps its indexes, and their names."""
    url = f"sqlite:///{tmp_path}/todo.db"
    release_to(url)
    rows_of(url, "ALTER TABLE tasks RENAME TO former_tasks")

    release_to(url)

    found = rows_of(url, "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'tasks' ORDER BY name")
    assert found == [(name,) for name, _ in WITHOUT_TITLE]
