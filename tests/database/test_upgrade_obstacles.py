"""What stands in the way of an upgrade on PostgreSQL: other schemas, settings, rights, and what relies on a table."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from starlette.testclient import TestClient

import release
from app import create_app
from migrations import HEAD, VERSION_TABLE
from settings import Settings
from tests.conftest import Rows, RowsOf, database_name
from tests.support.backend import ROOT
from tests.support.dumps import LAYOUTS, dump
from tests.support.servers import Postgres
from tests.support.tokens import SECRET, bearer, token_of
from tests.support.waiting import until

ADA = bearer(token_of("ada"))
BEFORE_VERSIONS = dump(LAYOUTS[1], "postgresql")
TABLES = (
    "SELECT schemaname, tablename FROM pg_tables"
    f" WHERE tablename IN ('users', 'tasks', '{VERSION_TABLE}') ORDER BY 2, 1"
)
VERSION = f"SELECT version_num FROM {VERSION_TABLE}"
KEY = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'tasks_pkey'"
INDEXES = "SELECT indexname FROM pg_indexes WHERE tablename = 'tasks' ORDER BY 1"
NOT_THE_OWNER = (
    "Cannot prepare the database: the tables cannot be brought up to date: must be owner of table {} (42501); "
    "grant this role CREATE, or run `python -m release` as the owner of the tables"
)
APP_FIRST = "CREATE SCHEMA app; ALTER DATABASE {name} SET search_path = app, public"
OF_BETTER_AUTH = 'CREATE TABLE public.users (id text PRIMARY KEY, email text, name text, "emailVerified" boolean)'


@pytest.fixture
def url(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """That of a new database, which a release is for."""
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    return postgres_url


@pytest.fixture
def former(url: str, postgres: Postgres) -> str:
    """The name of that database, with the tables and rows of a version from before there were versions."""
    postgres.execute(database_name(url), BEFORE_VERSIONS)
    return database_name(url)


@pytest.mark.parametrize(
    "schema", [APP_FIRST, "CREATE SCHEMA AUTHORIZATION postgres"], ids=["first-in-the-path", "of-the-role"]
)
def test_tables_in_a_later_schema_of_the_search_path_are_upgraded_there(
    former: str, postgres: Postgres, schema: str
) -> None:
    """No empty ones are made in front of them."""
    postgres.execute(former, schema.format(name=former))

    release.main()

    assert postgres.execute(former, TABLES) == [("public", name) for name in ("tasks", VERSION_TABLE, "users")]
    assert postgres.execute(former, "SELECT count(*) FROM tasks") == [(54,)]
    assert postgres.execute(former, VERSION) == [(HEAD,)]


def test_tasks_are_created_beside_users_that_are_in_a_later_schema(url: str, rows_of: RowsOf) -> None:
    rows_of(url, OF_BETTER_AUTH)
    rows_of(url, APP_FIRST.format(name=database_name(url)))

    release.main()

    assert rows_of(url, TABLES) == [("app", "tasks"), ("app", VERSION_TABLE), ("public", "users")]


def test_tasks_are_created_anew_with_the_version_in_a_later_schema(url: str, rows_of: RowsOf) -> None:
    release.main()
    rows_of(url, "DROP TABLE tasks")
    rows_of(url, APP_FIRST.format(name=database_name(url)))

    release.main()

    assert rows_of(url, TABLES) == [("app", "tasks"), ("public", VERSION_TABLE), ("public", "users")]
    assert rows_of(url, VERSION) == [(HEAD,)]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_an_upgrade_does_not_wait_for_itself_whatever_the_default_isolation(
    former: str, postgres: Postgres, level: str
) -> None:
    """In these, the transaction that holds the lock would keep a snapshot."""
    postgres.execute("postgres", f"ALTER DATABASE {former} SET default_transaction_isolation = '{level}'")

    # A process, which can be ended when it waits for ever.
    subprocess.run([sys.executable, "-m", "release"], check=True, cwd=ROOT, env={**os.environ}, timeout=60)

    assert postgres.execute(former, VERSION) == [(HEAD,)]


@pytest.fixture
def clerk(former: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A role that may use the tables and create new ones, and which a release is run by."""
    postgres.execute("postgres", "CREATE ROLE clerk LOGIN")
    postgres.execute(former, "GRANT CREATE ON SCHEMA public TO clerk; GRANT ALL ON users, tasks TO clerk")
    monkeypatch.setenv("DATABASE_URL", postgres.url(former).replace("postgres@", "clerk@"))
    yield "clerk"
    postgres.execute(former, "REASSIGN OWNED BY clerk TO postgres; DROP OWNED BY clerk")
    postgres.execute("postgres", "DROP ROLE clerk")


def test_a_role_that_does_not_own_the_tasks_leaves_the_upgrade_to_their_owner(
    former: str, postgres: Postgres, clerk: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        release.main()
    left = postgres.execute(former, TABLES)
    postgres.execute(former, f"ALTER TABLE users OWNER TO {clerk}; ALTER TABLE tasks OWNER TO {clerk}")
    release.main()

    assert str(exit_.value) == NOT_THE_OWNER.format("tasks")
    assert left == [("public", "tasks"), ("public", "users")]
    assert postgres.execute(former, VERSION) == [(HEAD,)]


def test_a_role_that_does_not_own_the_version_changes_nothing(former: str, postgres: Postgres, clerk: str) -> None:
    postgres.execute(former, f"CREATE TABLE {VERSION_TABLE} (version_num text); INSERT INTO {VERSION_TABLE} VALUES (1)")
    postgres.execute(former, f"GRANT ALL ON {VERSION_TABLE} TO {clerk}; ALTER TABLE tasks OWNER TO {clerk}")
    before = postgres.execute(former, INDEXES)

    with pytest.raises(SystemExit) as exit_:
        release.main()

    assert str(exit_.value) == NOT_THE_OWNER.format(VERSION_TABLE)
    assert postgres.execute(former, INDEXES) == before


def test_a_role_that_does_not_own_the_tasks_may_use_what_an_upgrade_brings(
    former: str, postgres: Postgres, clerk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it may use the tasks, and nobody else may. No revision brings a gap in which changes are refused."""
    postgres.execute("postgres", 'CREATE ROLE "The Reader" LOGIN')
    postgres.execute(former, 'GRANT SELECT ON tasks TO "The Reader"')
    monkeypatch.setenv("DATABASE_URL", postgres.url(former))
    release.main()

    names = "ARRAY['idempotency_keys', 'change_clocks', 'deleted_tasks']"
    found = postgres.execute(
        former,
        "SELECT role, privilege, count(*) FILTER (WHERE has_table_privilege(role, name, privilege))"
        f" FROM unnest(ARRAY['clerk', 'The Reader']) role, unnest({names}) name,"
        " unnest(ARRAY['DELETE', 'INSERT', 'SELECT', 'UPDATE']) privilege GROUP BY role, privilege"
        ' ORDER BY role COLLATE "C", privilege',
    )
    with TestClient(
        create_app(Settings(secret=SECRET, database_url=postgres.url(former).replace("postgres@", f"{clerk}@"))),
        headers=ADA,
    ) as ada:
        task = ada.post("/api/tasks", json={"title": "Write"}, headers={"Idempotency-Key": "once"}).json()
        statuses = [ada.delete(f"/api/tasks/{task['id']}").status_code, ada.get("/api/changes").status_code]
    postgres.execute(former, 'DROP OWNED BY "The Reader"')
    postgres.execute("postgres", 'DROP ROLE "The Reader"')

    assert found == [
        *(("The Reader", right, 3 * (right == "SELECT")) for right in ("DELETE", "INSERT", "SELECT", "UPDATE")),
        *(("clerk", right, 3) for right in ("DELETE", "INSERT", "SELECT", "UPDATE")),
    ]
    assert statuses == [204, 200]


@pytest.mark.parametrize(
    "relies",
    [
        "CREATE VIEW report AS SELECT id, title, count(*) FROM tasks GROUP BY id",
        "ALTER TABLE tasks REPLICA IDENTITY USING INDEX tasks_pkey",
        "CREATE PUBLICATION some_columns FOR TABLE tasks (id, title)",
    ],
    ids=["view", "replica-identity", "publication-of-columns"],
)
def test_a_key_that_something_relies_on_stays(former: str, postgres: Postgres, relies: str) -> None:
    postgres.execute(former, relies)

    release.main()

    assert postgres.execute(former, KEY) == [("PRIMARY KEY (id)",)]
    assert postgres.execute(former, VERSION) == [(HEAD,)]


def test_a_key_is_changed_though_a_publication_has_the_whole_table(former: str, postgres: Postgres) -> None:
    postgres.execute(former, "CREATE PUBLICATION whole FOR TABLE tasks")

    release.main()

    assert postgres.execute(former, KEY) == [("PRIMARY KEY (user_id, id)",)]


@pytest.mark.parametrize("version", ["1.5", "0"])
@pytest.mark.database("bare")
def test_an_older_version_that_is_unknown_is_an_exit_with_a_sentence(
    database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", database_url)
    release.main()
    rows(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'")

    with pytest.raises(SystemExit) as exit_:
        release.main()

    assert str(exit_.value) == (
        "Cannot prepare the database: the tables cannot be brought up to date: todo_schema_version names a version "
        f"that this code does not know (Can't locate revision identified by '{version}'); deploy the code that made "
        "the tables"
    )


@pytest.fixture
def other(former: str, postgres: Postgres) -> Iterator[psycopg2.extensions.connection]:
    """Somebody else's connection, to which settings that the database gets later do not apply."""
    with closing(psycopg2.connect(postgres.url(former))) as connection:
        yield connection


def upgrade_while(postgres: Postgres, name: str, other: psycopg2.extensions.connection, waits: str) -> None:
    """Run a release, and end the other transaction once a session of the release waits like that."""
    upgrade = threading.Thread(target=release.main)
    upgrade.start()
    sessions = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}' AND {waits}"
    asyncio.run(until(lambda: bool(postgres.execute("postgres", sessions)), 20))
    other.rollback()
    upgrade.join(60)


@pytest.mark.parametrize("setting", ["statement_timeout", "lock_timeout", "transaction_timeout"])
def test_an_index_may_take_longer_than_a_statement_of_the_role(
    former: str, postgres: Postgres, other: psycopg2.extensions.connection, setting: str
) -> None:
    with other.cursor() as cursor:
        cursor.execute("UPDATE tasks SET completed = true")
    postgres.execute("postgres", f"ALTER DATABASE {former} SET {setting} = '1s'")

    waits = "query ~ '^CREATE UNIQUE INDEX' AND clock_timestamp() > query_start + interval '1.5 s'"
    upgrade_while(postgres, former, other, waits)

    assert postgres.execute(former, KEY) == [("PRIMARY KEY (user_id, id)",)]


@pytest.mark.parametrize("server", ["postgres", "pgbouncer"])
def test_an_upgrade_may_be_idle_for_longer_than_the_role_while_a_table_is_in_use(
    former: str,
    postgres: Postgres,
    other: psycopg2.extensions.connection,
    server: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", request.getfixturevalue(server).url(former))
    with other.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM tasks")
    for setting in ("idle_in_transaction_session_timeout", "transaction_timeout"):
        postgres.execute("postgres", f"ALTER DATABASE {former} SET {setting} = '1s'")

    waits = "query ~ '^ROLLBACK TO SAVEPOINT' AND clock_timestamp() > state_change + interval '1.5 s'"
    upgrade_while(postgres, former, other, waits)

    assert postgres.execute(former, KEY) == [("PRIMARY KEY (user_id, id)",)]
