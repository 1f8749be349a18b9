"""SQLite: the event loop never waits, and what waits to be written is committed together."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from database import Conflict, Database, DatabaseUnavailable, ParentMissing
from tests.database.conftest import FOREVER, Connect, Run, ask, write
from tests.support.waiting import until

# Takes about half a second.
LONG = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) FROM n"
PEOPLE = [f"person {number}" for number in range(8)]


@pytest.fixture
def database(run: Run, connect: Connect, tmp_path: Path) -> Database:
    database = connect(f"sqlite:///{tmp_path}/todo.db", pool_size=8, deadline=10)
    run(ask(database, "SELECT 1"))
    return database


@pytest.fixture
def other(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another program with the same file, which waits for nobody."""
    with closing(sqlite3.connect(tmp_path / "todo.db", isolation_level=None, timeout=0)) as connection:
        yield connection


async def insert(database: Database, person: str) -> None:
    await database.caller(person).execute(text("INSERT INTO users (id, created_at) VALUES (:id, 0)"), {"id": person})


async def waiting(*calls: Any) -> list["asyncio.Task[Any]"]:
    """Calls that are under way."""
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0.1)
    return tasks


def test_reads_go_on_beside_one_that_does_not_end(run: Run, database: Database) -> None:
    async def reads() -> tuple[bool, list[int]]:
        (endless,) = await waiting(ask(database, FOREVER))
        found = [await ask(database, f"SELECT {number}") for number in range(5)]
        going_on = not endless.done()
        endless.cancel()
        with suppress(asyncio.CancelledError):
            await endless
        return going_on, found

    assert run(reads()) == (True, [0, 1, 2, 3, 4])


def test_the_event_loop_goes_on_while_another_program_has_the_file_alone(
    run: Run, connect: Connect, tmp_path: Path, other: sqlite3.Connection
) -> None:
    other.execute("BEGIN EXCLUSIVE")
    database = connect(f"sqlite:///{tmp_path}/todo.db")

    async def read() -> Any:
        (reading,) = await waiting(ask(database, "SELECT 'answered'"))
        assert not reading.done()
        other.execute("COMMIT")
        return await reading

    assert run(read()) == "answered"


def test_a_read_is_what_was_written_before(run: Run, database: Database) -> None:
    async def turns() -> list[int]:
        found = []
        for person in PEOPLE:
            await insert(database, person)
            found.append(await ask(database, "SELECT count(*) FROM users"))
        return found

    assert run(turns()) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_writes_that_wait_are_committed_together(run: Run, database: Database, other: sqlite3.Connection) -> None:
    """Each commit writes a page at least to the log, which is synced then."""
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.execute("BEGIN IMMEDIATE")

    async def writes() -> None:
        inserts = await waiting(*(insert(database, person) for person in PEOPLE))
        other.execute("COMMIT")
        await asyncio.gather(*inserts)

    run(writes())
    _, pages, _ = other.execute("PRAGMA wal_checkpoint").fetchone()

    assert run(ask(database, "SELECT count(*) FROM users")) == len(PEOPLE)
    assert pages < len(PEOPLE)


def test_of_writes_committed_together_each_fails_by_itself(
    run: Run, database: Database, other: sqlite3.Connection
) -> None:
    other.execute("INSERT INTO users (id, created_at) VALUES ('person 3', 0)")
    other.execute("BEGIN IMMEDIATE")

    async def writes() -> list[Any]:
        inserts = await waiting(*(insert(database, person) for person in PEOPLE))
        other.execute("COMMIT")
        return await asyncio.gather(*inserts, return_exceptions=True)

    results = run(writes())

    assert [type(result) for result in results] == [type(None)] * 3 + [Conflict] + [type(None)] * 4
    assert run(ask(database, "SELECT group_concat(id, ', ') FROM users")) == ", ".join(sorted(PEOPLE))


def test_a_write_that_is_given_up_takes_no_other_along(run: Run, database: Database, other: sqlite3.Connection) -> None:
    """SQLite undoes the whole transaction when one of its writes is interrupted."""
    endless = f"INSERT INTO users (id) {FOREVER}"
    other.execute("BEGIN IMMEDIATE")

    def is_being_written() -> bool:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        other.execute("ROLLBACK")
        return False

    async def writes() -> None:
        before, given_up, after = await waiting(
            insert(database, "before"), write(database, endless, "bob"), insert(database, "after")
        )
        other.execute("COMMIT")
        await until(is_being_written)
        await asyncio.sleep(0.1)
        given_up.cancel()
        await asyncio.gather(before, after)

    run(writes())

    assert run(ask(database, "SELECT group_concat(id, ', ') FROM users ORDER BY id")) == "after, before"


def test_writers_are_told_when_another_program_keeps_the_file(
    run: Run, connect: Connect, tmp_path: Path, other: sqlite3.Connection
) -> None:
    impatient = connect(f"sqlite:///{tmp_path}/todo.db", pool_size=8, deadline=1)
    run(ask(impatient, "SELECT 1"))
    other.execute("BEGIN IMMEDIATE")

    async def writes() -> list[Any]:
        return await asyncio.gather(*(insert(impatient, person) for person in PEOPLE), return_exceptions=True)

    assert {type(result) for result in run(writes())} == {DatabaseUnavailable}
    other.execute("COMMIT")
    assert run(ask(impatient, "SELECT count(*) FROM users")) == 0


def test_a_foreign_key_that_is_checked_at_the_commit_refuses_its_own_caller_alone(
    run: Run, database: Database, other: sqlite3.Connection
) -> None:
    """As in tables that Django made; writes that come at the same time share a commit."""
    other.execute("CREATE TABLE notes (user_id TEXT REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)")
    other.execute("INSERT INTO users (id, created_at) VALUES ('ada', 0)")

    async def note(person: str) -> None:
        await database.caller(person).execute(text("INSERT INTO notes VALUES (:id)"), {"id": person})

    async def notes() -> list[Any]:
        people = ["ada", "nobody", *(f"ada {number}" for number in range(3))]
        return await asyncio.gather(
            *(note(person) for person in people), insert(database, "bob"), return_exceptions=True
        )

    found = run(notes())

    assert [type(each) for each in found] == [type(None), *[ParentMissing] * 4, type(None)]
    assert run(ask(database, "SELECT group_concat(id) FROM users ORDER BY id")) == "ada,bob"
    assert run(ask(database, "SELECT group_concat(user_id) FROM notes")) == "ada"


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_a_file_that_is_no_more_is_opened_anew(
    run: Run, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    """Or else what is acknowledged would be kept in a file that nobody can find."""
    monkeypatch.setattr("database.sqlite.LOOK", 0.0)
    database = connect(f"sqlite:///{tmp_path}/todo.db", pool_size=2)
    run(insert(database, "before"))
    run(ask(database, "SELECT count(*) FROM users"))
    for name in ("todo.db", "todo.db-wal", "todo.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    if replaced:
        with closing(sqlite3.connect(tmp_path / "todo.db")) as connection:
            connection.execute("CREATE TABLE anything (id INTEGER)")

    with pytest.raises(DatabaseUnavailable, match="no such table: users"):
        run(insert(database, "lost"))
    run(insert(database, "after"))

    assert run(ask(database, "SELECT group_concat(id) FROM users")) == "after"
    with closing(sqlite3.connect(tmp_path / "todo.db")) as connection:
        assert connection.execute("SELECT id FROM users").fetchall() == [("after",)]


def test_a_statement_under_way_ends_on_the_file_that_it_began_with(
    run: Run, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database.sqlite.LOOK", 0.0)
    database = connect(f"sqlite:///{tmp_path}/todo.db", pool_size=2, deadline=60)
    run(ask(database, "SELECT 1"))

    async def read() -> Any:
        (long,) = await waiting(ask(database, LONG))
        for name in ("todo.db", "todo.db-wal", "todo.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        with suppress(DatabaseUnavailable):
            await ask(database, "SELECT count(*) FROM users")
        return await long

    assert run(read()) == 3_000_000
    assert run(ask(database, "SELECT count(*) FROM users")) == 0
