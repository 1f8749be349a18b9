"""What is sent to Citus, to a stand-in for the extension that notes what it is asked, and with which settings.

Citus itself cannot be installed where the tests run.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import release
from migrations import VERSION_TABLE
from tests.conftest import RowsOf, database_name
from tests.database.conftest import Connect, Run
from tests.support.servers import Postgres
from tests.support.tokens import SECRET
from web.check import check

CONTROL = "default_version = '1.0'\nrelocatable = true\n"
SCRIPT = """
CREATE TABLE pg_dist_partition (logicalrelid regclass, partmethod "char", repmodel "char");
CREATE TABLE calls (number serial, call text, sequential text, foreign_keys text);
CREATE FUNCTION note(call text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO calls (call, sequential, foreign_keys) VALUES (call,
        current_setting('citus.multi_shard_modify_mode', true),
        current_setting('citus.enable_local_reference_table_foreign_keys', true)) $$;
CREATE FUNCTION create_reference_table(name regclass) RETURNS void LANGUAGE sql AS $$
    SELECT note(format('reference %s', name)); INSERT INTO pg_dist_partition VALUES (name, 'n', 't') $$;
CREATE FUNCTION create_distributed_table(name regclass, owner text) RETURNS void LANGUAGE sql AS $$
    SELECT note(format('distribute %s by %s', name, owner)); INSERT INTO pg_dist_partition VALUES (name, 'h', 's') $$;
CREATE FUNCTION create_distributed_table(name regclass, owner text, colocate_with text) RETURNS void LANGUAGE sql AS $$
    SELECT note(format('distribute %s by %s with %s', name, owner, colocate_with));
    INSERT INTO pg_dist_partition VALUES (name, 'h', 's') $$;
CREATE FUNCTION create_distributed_table_concurrently(name regclass, owner text, colocate_with text = 'default')
    RETURNS void LANGUAGE sql AS $$
    SELECT note(format('concurrently distribute %s by %s with %s', name, owner, colocate_with));
    DELETE FROM pg_dist_partition WHERE logicalrelid = name;
    INSERT INTO pg_dist_partition VALUES (name, 'h', 's') $$;
"""
CALLS = "SELECT call, sequential, foreign_keys FROM calls ORDER BY number"
# What goes beside the tasks, in the order in which the revisions make it.
COMPANY = ("idempotency_keys", "change_clocks", "deleted_tasks")
AT_CREATION = [
    ("reference users", "sequential", "off"),
    ("distribute tasks by user_id", "sequential", "off"),
    *((f"distribute {name} by user_id with tasks", "sequential", "off") for name in COMPANY),
]
CONCURRENTLY = [
    ("reference users", None, None),
    ("concurrently distribute tasks by user_id with default", None, None),
    *((f"concurrently distribute {name} by user_id with tasks", None, None) for name in COMPANY),
]


@pytest.fixture
def citus(postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database that can create the stand-in, and which a release is for."""
    folder = Path(tempfile.mkdtemp())
    extensions = folder / "extension"
    extensions.mkdir()
    (extensions / "citus.control").write_text(CONTROL)
    (extensions / "citus--1.0.sql").write_text(SCRIPT)
    folder.chmod(0o755)
    name = database_name(postgres_url)
    postgres.execute("postgres", f"ALTER DATABASE {name} SET extension_control_path = '{folder}:$system'")
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    yield postgres_url
    shutil.rmtree(folder)


def test_new_tables_are_distributed_once(citus: str, run: Run, connect: Connect, rows_of: RowsOf) -> None:
    rows_of(citus, "CREATE EXTENSION citus")
    first, second = connect(citus), connect(citus)

    run(first.ready())
    run(second.ready())
    release.main()

    assert (first.layout.distribution, second.layout.distribution) == ("Citus", "Citus")
    assert rows_of(citus, CALLS) == AT_CREATION


def test_filled_tables_are_distributed_by_a_command_of_its_own(
    citus: str, run: Run, connect: Connect, rows_of: RowsOf
) -> None:
    release.main()
    rows_of(citus, "CREATE EXTENSION citus")
    database = connect(citus)
    run(database.ready())
    before = rows_of(citus, CALLS)

    release.main(["--distribute"])
    release.main(["--distribute"])
    run(database.ready())

    assert (before, database.layout.distribution) == ([], "Citus")
    assert rows_of(citus, CALLS) == CONCURRENTLY


@pytest.mark.parametrize(("version", "there"), [("2", ()), ("3", COMPANY[:1])], ids=["keys", "changes"])
def test_tables_that_are_distributed_get_company_on_their_machines(
    citus: str, rows_of: RowsOf, version: str, there: tuple[str, ...]
) -> None:
    """By the revisions that make the other tables."""
    new = COMPANY[len(there) :]
    release.main()
    rows_of(citus, f"DROP TABLE {', '.join(new)}")
    rows_of(citus, f"UPDATE {VERSION_TABLE} SET version_num = '{version}'")
    rows_of(citus, "CREATE EXTENSION citus")
    rows_of(citus, "INSERT INTO pg_dist_partition VALUES ('users', 'n', 't'), ('tasks', 'h', 's')")
    for name in there:
        rows_of(citus, f"INSERT INTO pg_dist_partition VALUES ('{name}', 'h', 's')")

    release.main()

    assert rows_of(citus, CALLS) == AT_CREATION[-len(new) :]


def test_the_check_names_it(citus: str, rows_of: RowsOf, capsys: pytest.CaptureFixture[str]) -> None:
    rows_of(citus, "CREATE EXTENSION citus")
    release.main()

    check()

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if re.match(r"database: PostgreSQL 18\.\d+ with Citus 1\.0$", line)]
    assert "distribution: Citus" in lines


def test_a_distribution_that_was_broken_off_is_repeated(citus: str, rows_of: RowsOf) -> None:
    """It leaves tables that Citus knows and has not spread."""
    release.main()
    rows_of(citus, "CREATE EXTENSION citus")
    rows_of(citus, "INSERT INTO pg_dist_partition VALUES ('users', 'n', 't'), ('tasks', 'n', 's')")

    release.main(["--distribute"])

    assert rows_of(citus, CALLS) == CONCURRENTLY[1:]


def test_a_refusal_of_citus_is_a_sentence(citus: str, rows_of: RowsOf) -> None:
    release.main()
    rows_of(citus, "CREATE EXTENSION citus")
    rows_of(citus, "ALTER FUNCTION create_distributed_table_concurrently RENAME TO is_not_there")

    with pytest.raises(SystemExit, match=r"^Cannot prepare the database: function create_.* \(42883\)$"):
        release.main(["--distribute"])


@pytest.mark.usefixtures("citus")
def test_a_database_without_citus_is_a_sentence() -> None:
    with pytest.raises(SystemExit) as exit_:
        release.main(["--distribute"])

    assert str(exit_.value) == (
        "Cannot prepare the database: this database has no extension citus; create it on every node first"
    )


def test_sqlite_is_not_distributed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/todo.db")

    with pytest.raises(SystemExit, match=r"^Cannot prepare the database: SQLite keeps its tables in one file; only"):
        release.main(["--distribute"])


def test_other_arguments_are_refused() -> None:
    with pytest.raises(SystemExit, match=r"^Usage: python -m release \[--distribute\]"):
        release.main(["--distribute", "--now"])
