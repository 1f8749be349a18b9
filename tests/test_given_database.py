"""`--database-url`: the suite on an operator's own database, which loses nothing by it."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import database_name
from tests.support.backend import ROOT
from tests.support.given import Given
from tests.support.processes import Process
from tests.support.proxy import free_port
from tests.support.servers import Postgres

PASSWORD = "open:\\sesame"
TABLES = (
    "SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'v')"
)
TABLES += " AND nspname !~ '^(pg_|information_schema$)'"


@pytest.fixture
def tenant(postgres: Postgres, postgres_url: str) -> Iterator[str]:
    """The URL of the database for a role that owns a schema in it, and may create neither databases nor roles."""
    name = database_name(postgres_url)
    postgres.execute("postgres", "CREATE ROLE tenant LOGIN")
    postgres.execute(name, "CREATE SCHEMA tenant AUTHORIZATION tenant")
    yield postgres_url.replace("postgres@", "tenant:open%3A%5Csesame@") + "?application_name=tests"
    postgres.execute(name, "DROP SCHEMA tenant CASCADE")
    postgres.execute("postgres", "DROP ROLE tenant")


def run(*arguments: str) -> tuple[int, str]:
    """The exit code of pytest in a process of its own, and what it says."""
    Process.before_start()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    return ended.returncode, ended.stdout


def test_the_suite_runs_in_a_schema_and_leaves_nothing_there(
    tenant: str, postgres: Postgres, postgres_url: str
) -> None:
    postgres.execute(database_name(postgres_url), "CREATE TABLE tenant.others AS SELECT 1")

    code, output = run("--database-url", tenant, "tests/api/test_complete.py", "tests/api/test_store.py", "-vv")

    assert code == 0, output
    assert "test_complete.py::test_" in output
    assert "[given" in output
    assert "Left out were the 4 tests that need servers, roles or databases of their own, and the 0 that" in output
    assert " 4 deselected" in output
    assert "skipped" not in output
    assert "sesame" not in output
    assert postgres.execute(database_name(postgres_url), TABLES) == [("tenant", "others")]


def test_the_password_is_not_shown_when_tests_fail(tenant: str, postgres: Postgres, postgres_url: str) -> None:
    postgres.execute(database_name(postgres_url), "CREATE TYPE tenant.users AS ENUM ()")

    code, output = run("--database-url", tenant, "tests/database/test_layout.py", "--showlocals")

    assert code == 1
    assert 'type "users" already exists' in output
    assert "database_url = 'postgresql://tenant@" in output
    assert "sesame" not in output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-n", "2"], "--database-url needs one process, since all tests use one database; leave out -n."),
        (
            ["--database", "sqlite"],
            "--database-url and --database are two answers to one question; give one of them.",
        ),
    ],
    ids=["processes", "two-databases"],
)
def test_what_contradicts_it_is_refused_in_a_sentence(tenant: str, arguments: list[str], sentence: str) -> None:
    assert run("--database-url", tenant, *arguments, "tests/api/test_complete.py") == (4, f"ERROR: {sentence}\n\n")


@pytest.mark.parametrize(
    "url",
    ["sqlite:///todo.db", "mysql://ada:sesame@127.0.0.1/todo", "ada:sesame@127.0.0.1", "postgresql://ada:sesame@h:x/"],
)
def test_another_kind_of_url_is_refused_in_a_sentence(url: str) -> None:
    assert refused(url) == "--database-url takes postgresql://user:password@host:port/database."


@pytest.mark.parametrize("make", ["TABLE tasks ()", "VIEW users AS SELECT 1", "TABLE todo_schema_version ()"])
@pytest.mark.parametrize("schema", ["tenant", "public"])
def test_a_database_with_such_tables_is_refused_and_not_changed(
    tenant: str, postgres: Postgres, postgres_url: str, schema: str, make: str
) -> None:
    """Even empty ones."""
    name = make.split()[1]
    postgres.execute(database_name(postgres_url), f"CREATE {make.replace(name, f'{schema}.{name}')}")

    sentence = refused(tenant)

    assert sentence == (
        f"--database-url: the database has {name} already, which this run would drop; nothing was changed. "
        "Give it an empty database, or drop what a run that was broken off has left."
    )
    assert postgres.execute(database_name(postgres_url), TABLES) == [(schema, name)]


@pytest.mark.parametrize("search_path", ["", "public"], ids=["none", "another's"])
def test_a_role_without_a_schema_is_refused_in_a_sentence(tenant: str, postgres: Postgres, search_path: str) -> None:
    postgres.execute("postgres", f"ALTER ROLE tenant SET search_path = '{search_path}'")

    assert refused(tenant) == (
        "--database-url: the role may create tables in no schema of its search path; grant it CREATE on one."
    )


def test_a_database_that_is_away_is_refused_in_a_sentence() -> None:
    sentence = refused(f"postgresql://ada:{PASSWORD}@127.0.0.1:{free_port()}/todo")

    assert sentence.startswith("--database-url: the database cannot be used: connection to server at ")
    assert "Connection refused" in sentence
    assert "sesame" not in sentence


def refused(url: str) -> str:
    with pytest.raises(pytest.UsageError) as error:
        Given(url)
    return str(error.value)
