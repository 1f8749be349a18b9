"""A fresh database for each test, of each kind: on SQLite, and in four ways on PostgreSQL.

A test that asks for `database_url` (or anything built on it) runs once on each kind in `DATABASES`, or on those that
`KINDS` has for its file or folder. Those marked `database("any")` run on SQLite alone, those marked
`database("two")` on SQLite and PostgreSQL, because others test how such statements fare with the rest, and those marked
`database("bare")` on no kind that has its tables already. `--database KIND` runs all of them on that kind.
"""

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from database.postgres import DIALECT
from tests.support.dumps import LAYOUTS, bring_up_to_date, dump, restore_sqlite
from tests.support.given import OPTION, Given
from tests.support.partitions import partitioned
from tests.support.processes import missing
from tests.support.proxy import Proxy
from tests.support.rows import Rows, RowsOf, database_name
from tests.support.servers import PgBouncer, Postgres

DATABASES = ("sqlite", "postgresql", "pgbouncer")
# Kinds whose tables are there before the app starts; the migrated ones were made by the oldest version.
MADE_BEFORE = ("partitioned", "migrated-sqlite", "migrated")
# By file or folder, unless no table may be there before the test. What others add is how processes start, fail and
# race, for which partitions make no difference; and that migrated tables are like new ones is tested by itself.
KINDS = {
    "test_store.py": (*DATABASES, *MADE_BEFORE),
    "api": ("sqlite", "postgresql", "partitioned"),
    "database": (*DATABASES, "partitioned"),
}

GIVEN = pytest.StashKey[Given]()
LEFT_OUT = pytest.StashKey[tuple[int, int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database", choices=[*DATABASES, *MADE_BEFORE], help="run the tests that need a database on this one only"
    )
    parser.addoption(
        OPTION, metavar="URL", help="run the tests that need no more than a database on this one, which has no tables"
    )


def pytest_configure(config: pytest.Config) -> None:
    url = config.getoption(OPTION)
    if url is None:
        return
    if config.getoption("--database"):
        raise pytest.UsageError(f"{OPTION} and --database are two answers to one question; give one of them.")
    if config.getoption("numprocesses", None):
        raise pytest.UsageError(f"{OPTION} needs one process, since all tests use one database; leave out -n.")
    config.stash[GIVEN] = Given(str(url))


def pytest_unconfigure(config: pytest.Config) -> None:
    if given := config.stash.get(GIVEN, None):
        given.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_kind" in metafunc.fixturenames:
        folder = metafunc.definition.path.parent.name
        kinds = [
            # The lines are the same as on the others, and coverage slows them down.
            pytest.param(kind, marks=pytest.mark.no_cover) if folder == "api" and kind in MADE_BEFORE else kind
            for kind in kinds_for(metafunc)
        ]
        metafunc.parametrize("database_kind", kinds, scope="session")


def kinds_for(metafunc: pytest.Metafunc) -> Sequence[str]:
    if metafunc.config.getoption(OPTION):
        return ["given"]
    marker = metafunc.definition.get_closest_marker("database")
    of = marker.args[0] if marker else "every"
    if chosen := metafunc.config.getoption("--database"):
        kinds: Sequence[str] = [str(chosen)]
    elif of == "any" or metafunc.config.getoption("--quick"):
        kinds = ["sqlite"]
    elif of == "two":
        kinds = DATABASES[:2]
    elif of == "bare":
        kinds = DATABASES
    else:
        path = metafunc.definition.path
        kinds = KINDS.get(path.name) or KINDS.get(path.parent.name, DATABASES)
    return [kind for kind in kinds if of != "bare" or kind not in MADE_BEFORE]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the given database is not enough for, or what needs none."""
    if GIVEN not in config.stash:
        return
    fixtures = {item: set(getattr(item, "fixturenames", ())) for item in items}
    more = [item for item in items if "postgres" in fixtures[item]]
    none = [item for item in items if not {"postgres", "database_url"} & fixtures[item]]
    config.stash[LEFT_OUT] = len(more), len(none)
    config.hook.pytest_deselected(items=[*more, *none])
    items[:] = [item for item in items if item not in {*more, *none}]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if LEFT_OUT in config.stash:
        more, none = config.stash[LEFT_OUT]
        terminalreporter.write_line(
            f"Left out were the {more} tests that need servers, roles or databases of their own, and the {none} that "
            "need no database, or SQLite."
        )


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


@pytest.fixture(scope="session")
def partitioned_template(postgres: Postgres) -> str:
    """The name of a database to be copied, since 16 partitions with all their indexes take long to make."""
    name = postgres.create_database()
    postgres.execute(name, ";".join(partitioned(DIALECT)))
    return name


@pytest.fixture
def partitioned_url(postgres: Postgres, pgbouncer: PgBouncer, partitioned_template: str) -> Iterator[str]:
    """A database on PostgreSQL in which tasks have partitions, through PgBouncer."""
    name = postgres.create_database(partitioned_template)
    yield pgbouncer.url(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def migrated_template(postgres: Postgres) -> str:
    """The name of a database to be copied.

    Its rows are deleted after the migration, because many tests compare whole tables; the counter of ids goes on.
    """
    name = postgres.create_database()
    postgres.execute(name, dump(LAYOUTS[0], "postgresql"))
    bring_up_to_date(postgres.url(name))
    postgres.execute(name, "DELETE FROM users")
    return name


@pytest.fixture
def migrated_url(postgres: Postgres, migrated_template: str) -> Iterator[str]:
    """A database on PostgreSQL from the oldest version."""
    name = postgres.create_database(migrated_template)
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `migrated_template`."""
    path = tmp_path_factory.mktemp("migrated") / "todo.db"
    restore_sqlite(path, LAYOUTS[0])
    bring_up_to_date(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("PRAGMA foreign_keys = ON; DELETE FROM users")
    return path


@pytest.fixture
def migrated_sqlite_url(tmp_path: Path, migrated_file: Path) -> str:
    """A copy of a file of the oldest version."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path)}"


@pytest.fixture(scope="session")
def given_database(pytestconfig: pytest.Config) -> Iterator[Given]:
    given = pytestconfig.stash[GIVEN]
    yield given
    given.drop_tables()


@pytest.fixture
def given_url(given_database: Given) -> str:
    """The operator's own database, emptied."""
    given_database.drop_tables()
    return given_database.url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/todo.db"


URL_OF = {
    "sqlite": "sqlite_url",
    "postgresql": "postgres_url",
    "pgbouncer": "pgbouncer_url",
    "partitioned": "partitioned_url",
    "migrated": "migrated_url",
    "migrated-sqlite": "migrated_sqlite_url",
    "given": "given_url",
}


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest) -> str:
    """A fresh database of the kind that this run of the test is for."""
    return str(request.getfixturevalue(URL_OF[database_kind]))


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[Proxy]:
    with Proxy(postgres.port) as proxy:
        yield proxy


@pytest.fixture
def rows_of(request: pytest.FixtureRequest) -> RowsOf:
    """Look into (or change) the rows of a database, past the app."""

    def run(database_url: str, sql: str) -> list[tuple[Any, ...]]:
        path = database_url.removeprefix("sqlite:///")
        if path == database_url:
            if given := request.config.stash.get(GIVEN, None):
                return given.execute(sql)
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
