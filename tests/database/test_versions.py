"""The versions of the tables: older ones are brought up to date, and newer ones used or refused."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient

import release
from app import create_app
from database import DatabaseUnavailable, NotPrepared
from layout import prepare
from migrations import HEAD, VERSION_TABLE, locks
from settings import Settings
from tests.conftest import Rows, RowsOf, database_name
from tests.database.conftest import Connect, Run
from tests.support.backend import ROOT
from tests.support.proxy import Proxy
from tests.support.tokens import SECRET, bearer, token_of
from tests.support.waiting import until

ADA = bearer(token_of("ada"))
KEY = (
    "SELECT pg_get_constraintdef(oid), conname FROM pg_constraint WHERE conrelid = 'tasks'::regclass AND contype = 'p'"
)
ALEMBIC = Config(toml_file=str(ROOT / "pyproject.toml"))
# The number of the next release that changes the tables.
NEXT = int(HEAD.partition(".")[0]) + 1

Environment = dict[str, str]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Environment:
    """What a release reads, here and in other processes."""
    variables = {"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": database_url}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return {"PATH": os.environ["PATH"], **variables}


@pytest.fixture
def from_before_versions(environment: Environment, rows: Rows) -> str:
    """A database as it was before the tables had versions, with a task."""
    command.upgrade(ALEMBIC, "1")
    rows(f"DROP TABLE {VERSION_TABLE}")
    rows("INSERT INTO users (id) VALUES ('ada')")
    moment = "'2026-01-02 03:04:05.678901'"
    rows(f"INSERT INTO tasks (user_id, title, created_at, updated_at) VALUES ('ada', 'Old', {moment}, {moment})")
    return environment["DATABASE_URL"]


@pytest.fixture
def one_version_later(tmp_path: Path) -> Path:
    """This source with another column, as CONTRIBUTING.md says how to add one."""
    source = tmp_path / "later"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "tests", "bench", "docs", "examples", "scripts"))
    column = "    due_date: date | None = None\n"
    change(source / "tables.py", column, f"{column}    other: str | None = Field(default=None, sa_type=Text)\n")
    change(source / "migrations/__init__.py", f'HEAD = "{HEAD}"', f'HEAD = "{NEXT}"')
    (source / "migrations/versions/next.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\nfrom migrations.locks import with_table_lock\n"
        f'revision = "{NEXT}"\ndown_revision = "{HEAD}"\n'
        "def upgrade() -> None:\n"
        '    with_table_lock(op.get_bind(), lambda: op.add_column("tasks", sa.Column("other", sa.Text)))\n'
    )
    return source


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_the_newest_revision_is_the_version_of_this_code() -> None:
    assert ScriptDirectory.from_config(ALEMBIC).get_current_head() == HEAD


@pytest.mark.database("any")
def test_the_command_alembic_runs_from_the_folder_of_the_source(environment: Environment) -> None:
    """As a maintainer runs it. The folder of a console script is on its path, and the current one is not."""
    release.main()

    alembic = [str(Path(sys.executable).with_name("alembic")), "current"]
    ended = subprocess.run(alembic, cwd=ROOT, env=environment, capture_output=True, text=True)

    assert (ended.returncode, ended.stdout) == (0, f"{HEAD} (head)\n")


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
@pytest.mark.usefixtures("environment")
@pytest.mark.database("bare")
def test_the_model_is_what_the_revisions_make(rows: Rows) -> None:
    """`alembic check` finds no difference, after all revisions one by one and after the creation from the model."""
    command.upgrade(ALEMBIC, "head")
    command.check(ALEMBIC)
    by_revisions = rows(f"SELECT version_num FROM {VERSION_TABLE}")

    for table in ("tasks", "users", VERSION_TABLE):
        rows(f"DROP TABLE {table}")
    release.main()
    command.check(ALEMBIC)

    assert by_revisions == rows(f"SELECT version_num FROM {VERSION_TABLE}") == [(HEAD,)]


@pytest.mark.database("bare")
def test_tables_from_before_versions_are_adopted_at_start(from_before_versions: str, rows: Rows) -> None:
    with TestClient(create_app(Settings(secret=SECRET, database_url=from_before_versions)), headers=ADA) as ada:
        task = ada.get("/api/tasks").json()[0]
        created = ada.post("/api/tasks", json={"title": "New"}).json()

    assert (task["title"], task["created_at"]) == ("Old", "2026-01-02T03:04:05.678901Z")
    assert created["id"] > task["id"]
    assert rows(f"SELECT version_num FROM {VERSION_TABLE}") == [(HEAD,)]
    if "sqlite" not in from_before_versions:
        assert rows(KEY) == [("PRIMARY KEY (user_id, id)", "tasks_pkey")]


@pytest.fixture
def former_key(postgres_url: str, monkeypatch: pytest.MonkeyPatch, rows_of: RowsOf) -> str:
    """A database on PostgreSQL from before versions, without tasks, which a release is for."""
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    command.upgrade(ALEMBIC, "1")
    rows_of(postgres_url, f"DROP TABLE {VERSION_TABLE}")
    return postgres_url


@pytest.mark.parametrize(
    "obstacle",
    [
        "CREATE TABLE steps (task_id bigint REFERENCES tasks)",
        "ALTER TABLE tasks ALTER COLUMN user_id DROP NOT NULL",
        "ALTER TABLE tasks ALTER COLUMN id DROP IDENTITY, ALTER COLUMN id SET DEFAULT 7",
    ],
    ids=["referenced", "owner-may-be-null", "id-of-another-kind"],
)
def test_a_key_that_somebody_may_rely_on_stays(former_key: str, rows_of: RowsOf, obstacle: str) -> None:
    rows_of(former_key, obstacle)

    release.main()

    assert rows_of(former_key, KEY) == [("PRIMARY KEY (id)", "tasks_pkey")]
    assert rows_of(former_key, f"SELECT version_num FROM {VERSION_TABLE}") == [(HEAD,)]


@pytest.mark.parametrize(
    ("version", "refused"),
    [
        (HEAD, None),
        (f"{HEAD}.1", None),
        (str(NEXT), None),
        (f"{NEXT}.4", None),
        (str(NEXT + 1), True),
        ("9d2f", True),
    ],
)
def test_tables_may_be_one_release_ahead_of_the_code(
    environment: Environment, run: Run, connect: Connect, rows: Rows, version: str, refused: bool | None
) -> None:
    release.main()
    rows(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'")
    database = connect(environment["DATABASE_URL"])

    if refused:
        with pytest.raises(NotPrepared) as error:
            run(database.ready())
        assert str(error.value) == (
            f"the tables are of version {version}, and this code knows version {HEAD}; deploy the newer code"
        )
    else:
        run(database.ready())
        newer = f"The tables are of version {version}, which is newer than this code; update it soon."
        assert list(database.layout.remarks()) == [newer] * (version != HEAD)


def test_tables_one_release_ahead_that_do_not_fit_are_refused(
    environment: Environment, run: Run, connect: Connect, rows: Rows
) -> None:
    release.main()
    rows(f"UPDATE {VERSION_TABLE} SET version_num = '{NEXT}'")
    rows("ALTER TABLE tasks RENAME COLUMN description TO details")

    with pytest.raises(NotPrepared, match=r"^the table tasks has no column description; deploy the newer code$"):
        run(connect(environment["DATABASE_URL"]).ready())


@pytest.mark.database("bare")
def test_a_column_is_added_while_the_previous_version_serves(
    one_version_later: Path, from_before_versions: str, environment: Environment, rows: Rows
) -> None:
    """Two versions at once, and the column arrives although one version was left out."""
    settings = Settings(secret=SECRET, database_url=from_before_versions)
    with TestClient(create_app(settings), headers=ADA) as ada:
        ended = subprocess.run(
            [sys.executable, "-m", "release"], cwd=one_version_later, env=environment, capture_output=True, text=True
        )
        created = ada.post("/api/tasks", json={"title": "New"})
    with TestClient(create_app(settings), headers=ADA) as ada:
        titles = [task["title"] for task in ada.get("/api/tasks").json()]
        ready = ada.get("/ready").status_code

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (created.status_code, ready, titles) == (201, 200, ["New", "Old"])
    assert rows("SELECT title, other FROM tasks ORDER BY id") == [("Old", None), ("New", None)]
    assert rows(f"SELECT version_num FROM {VERSION_TABLE}") == [(str(NEXT),)]


def test_a_process_that_is_up_to_date_imports_no_alembic(environment: Environment) -> None:
    release.main()
    check = (
        "import sys; from starlette.testclient import TestClient; import app\n"
        "with TestClient(app.app) as client: print(client.get('/ready').status_code, 'alembic' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", check], cwd=ROOT, env=environment, capture_output=True, text=True)

    assert ended.stdout == "200 False\n"


@pytest.fixture
def other(postgres_url: str) -> Iterator[psycopg2.extensions.connection]:
    with closing(psycopg2.connect(postgres_url)) as connection:
        yield connection


def test_a_change_that_fails_leaves_the_rest_of_its_transaction(environment: Environment, rows: Rows) -> None:
    """On every kind of database, so that a revision needs to be written once."""
    release.main()
    add = text("ALTER TABLE tasks ADD COLUMN other text")
    insert = text("INSERT INTO users (id) VALUES ('ada')")

    with locks.engine_of(Settings(secret=SECRET, database_url=environment["DATABASE_URL"]).database).begin() as upgrade:
        upgrade.execute(insert)
        with pytest.raises(DBAPIError):
            locks.with_table_lock(upgrade, lambda: [upgrade.execute(add), upgrade.execute(insert)])
        locks.with_table_lock(upgrade, lambda: upgrade.execute(add))

    assert rows("SELECT users.id, other FROM users LEFT JOIN tasks ON user_id = users.id") == [("ada", None)]


def test_a_table_in_use_is_changed_as_soon_as_it_is_free(
    former_key: str,
    other: psycopg2.extensions.connection,
    monkeypatch: pytest.MonkeyPatch,
    rows_of: RowsOf,
) -> None:
    """A transaction that has read from it holds up the change, which lets all others pass."""
    monkeypatch.setattr(locks, "TABLE_PAUSE", 0.2)
    with other.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM tasks")
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ '^ALTER TABLE tasks'"

    upgrade = threading.Thread(target=release.main)
    upgrade.start()
    asyncio.run(until(lambda: bool(rows_of(former_key, waiting))))
    counted = rows_of(former_key, "SET lock_timeout = '10s'; SELECT count(*) FROM tasks")
    before = rows_of(former_key, KEY)
    other.rollback()
    upgrade.join(60)

    assert (counted, before) == ([(0,)], [("PRIMARY KEY (id)", "tasks_pkey")])
    assert rows_of(former_key, KEY) == [("PRIMARY KEY (user_id, id)", "tasks_pkey")]


def test_a_table_that_is_never_free_is_a_sentence(
    former_key: str,
    other: psycopg2.extensions.connection,
    monkeypatch: pytest.MonkeyPatch,
    rows_of: RowsOf,
) -> None:
    monkeypatch.setattr(locks, "TABLE_PAUSE", 0.0)
    monkeypatch.setattr(locks, "ATTEMPTS", 2)
    with other.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM tasks")

    with pytest.raises(SystemExit) as exit_:
        release.main()

    assert str(exit_.value) == (
        "Cannot prepare the database: the tables cannot be brought up to date: "
        "canceling statement due to lock timeout (55P03)"
    )
    assert rows_of(former_key, KEY) == [("PRIMARY KEY (id)", "tasks_pkey")]


@pytest.mark.database("bare")
def test_tables_of_an_earlier_version_are_compared_after_their_upgrade(
    environment: Environment, run: Run, connect: Connect, rows: Rows
) -> None:
    """Which may bring what they lack."""
    command.upgrade(ALEMBIC, "1")
    rows("ALTER TABLE tasks RENAME COLUMN description TO details")

    with pytest.raises(NotPrepared, match=r"^the table tasks has no column description; "):
        run(connect(environment["DATABASE_URL"]).ready())

    assert rows(f"SELECT version_num FROM {VERSION_TABLE}") == [(HEAD,)]


def test_an_upgrade_waits_for_another_one_outside_of_any_transaction(
    postgres_url: str,
    other: psycopg2.extensions.connection,
    monkeypatch: pytest.MonkeyPatch,
    rows_of: RowsOf,
) -> None:
    """So that it holds no snapshot, for whose end the other one may wait."""
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    command.upgrade(ALEMBIC, "1")
    rows_of(postgres_url, f"DROP TABLE {VERSION_TABLE}")
    with other.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_xact_lock({locks.LOCK})")
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query = 'ROLLBACK'"
    )

    upgrade = threading.Thread(target=release.main)
    upgrade.start()
    asyncio.run(until(lambda: bool(rows_of(postgres_url, waiting))))
    other.rollback()
    upgrade.join(60)

    assert rows_of(postgres_url, f"SELECT version_num FROM {VERSION_TABLE}") == [(HEAD,)]


def test_each_statement_about_the_tables_has_an_end(
    postgres_url: str, proxy: Proxy, run: Run, connect: Connect
) -> None:
    database = connect(proxy.url(database_name(postgres_url)))
    run(database.ready())
    proxy.freeze()

    with pytest.raises(DatabaseUnavailable, match=r"^no answer within 0\.1 seconds$"):
        run(prepare(database.engine, 0.1))
