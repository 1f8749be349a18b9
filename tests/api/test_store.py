"""The store alone, without HTTP."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import pytest

import store
from database import Caller, Conflict, Database, Executables, ParentMissing
from migrations.layout import prepare
from paging import Position, Sort
from queries import accounts
from settings import Settings
from tests.conftest import Rows, database_name
from tests.database.conftest import Run
from tests.support.servers import Postgres
from tests.support.tokens import SECRET

NEW = {"title": "Write", "description": None, "completed": False, "due_date": None}


@pytest.fixture
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def caller(settings: Settings) -> Iterator[Caller]:
    """The database of a request."""
    database = Database(settings.database, pool_size=2, prepare=prepare)
    yield database.caller("ada")
    database.close()


class Interfering(Caller):
    """A caller to whom something happens each time before they insert a user."""

    def __init__(self, database: Database, interfere: Any) -> None:
        super().__init__(database, "ada")
        self._interfere = interfere

    async def execute(self, statement: Executables, values: Mapping[str, Any] | None = None) -> Any:
        if str(statement).startswith("INSERT INTO users"):
            self._interfere()
        return await super().execute(statement, values or {})


@pytest.fixture
def interfered(settings: Settings) -> Iterator[Any]:
    database = Database(settings.database, pool_size=2, prepare=prepare)
    yield lambda interfere: Interfering(database, interfere)
    database.close()


def test_each_function_of_tasks_is_one_statement(run: Run, caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    run(accounts.ensure_user(caller, "ada", None, None))
    task = run(store.create_task(caller, "ada", NEW))
    caplog.set_level(logging.DEBUG, "todo.sql")
    caplog.clear()
    run(store.create_task(caller, "ada", NEW))
    run(store.get_task(caller, "ada", task.id))
    run(store.list_tasks(caller, "ada", "all", "created", 10))
    run(store.update_task(caller, "ada", task.id, {"title": "Rewrite"}))
    run(store.update_task(caller, "ada", task.id, {}))
    run(store.toggle_task(caller, "ada", task.id))
    run(store.delete_task(caller, "ada", task.id))
    run(accounts.ensure_user(caller, "ada", None, None))

    statements = [record.getMessage().split()[0] for record in caplog.records if record.name == "todo.sql"]
    # Each change is a batch that begins with the person's clock.
    assert statements == ["INSERT", "SELECT", "SELECT", "INSERT", "INSERT", "INSERT", "INSERT", "SELECT"]


def test_a_task_of_nobody_is_refused(run: Run, caller: Caller, rows: Rows) -> None:
    with pytest.raises(ParentMissing):
        run(store.create_task(caller, "nobody", NEW))

    assert rows("SELECT count(*) FROM tasks") == [(0,)]


def test_tasks_go_with_their_user(run: Run, caller: Caller, rows: Rows) -> None:
    run(accounts.ensure_user(caller, "ada", None, None))
    run(store.create_task(caller, "ada", NEW))

    rows("DELETE FROM users WHERE id = 'ada'")

    assert rows("SELECT count(*) FROM tasks") == [(0,)]


def test_an_id_is_never_given_twice(run: Run, caller: Caller) -> None:
    run(accounts.ensure_user(caller, "ada", None, None))
    first = run(store.create_task(caller, "ada", NEW))
    run(store.delete_task(caller, "ada", first.id))

    assert run(store.create_task(caller, "ada", NEW)).id > first.id


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"title": "Rewrite"}, id="title"),
        pytest.param({"description": "At length"}, id="description"),
        pytest.param({"completed": True}, id="completed"),
        pytest.param({"due_date": date(2026, 1, 31)}, id="due_date"),
        pytest.param({"title": "Rewrite", "completed": True, "due_date": date.max, "description": ""}, id="all"),
    ],
)
def test_an_update_changes_what_it_names_and_the_time(run: Run, caller: Caller, changes: dict[str, Any]) -> None:
    run(accounts.ensure_user(caller, "ada", None, None))
    before = run(store.create_task(caller, "ada", NEW))

    after = run(store.update_task(caller, "ada", before.id, changes))
    again = run(store.update_task(caller, "ada", before.id, changes))

    assert after is not None
    assert after._asdict() == {**before._asdict(), **changes, "updated_at": after.updated_at}
    assert after.updated_at > before.updated_at
    assert again == after


def test_an_email_that_moved_leaves_the_old_row_its_tasks(run: Run, caller: Caller, rows: Rows) -> None:
    run(accounts.ensure_user(caller, "old", "ada@example.com", "Ada"))
    run(store.create_task(caller, "old", NEW))

    run(accounts.ensure_user(caller, "new", "ada@example.com", "Ada"))

    assert rows("SELECT id, email FROM users ORDER BY id") == [("new", "ada@example.com"), ("old", None)]
    assert rows("SELECT user_id FROM tasks") == [("old",)]


def test_a_user_that_somebody_else_inserted_in_between_is_read_again(run: Run, interfered: Any, rows: Rows) -> None:
    """The row appears after it was looked for and before it is inserted."""

    def interfere() -> None:
        if rows("SELECT count(*) FROM users") == [(0,)]:
            rows("INSERT INTO users (id, email) VALUES ('ada', 'old@example.com')")

    run(accounts.ensure_user(interfered(interfere), "ada", "new@example.com", "Ada"))

    assert rows("SELECT id, email, name FROM users") == [("ada", "new@example.com", "Ada")]


def test_an_email_that_others_keep_taking_is_given_up(run: Run, caller: Caller, interfered: Any, rows: Rows) -> None:
    """Each time before the insert somebody else has it again; the person is let in without."""
    run(accounts.ensure_user(caller, "bob", None, None))

    def interfere() -> None:
        rows("UPDATE users SET email = 'ada@example.com' WHERE id = 'bob'")

    run(accounts.ensure_user(interfered(interfere), "ada", "ada@example.com", "Ada"))

    assert rows("SELECT id, email, name FROM users ORDER BY id") == [
        ("ada", None, "Ada"),
        ("bob", "ada@example.com", None),
    ]


def test_a_user_whom_the_table_keeps_refusing_is_an_error(
    run: Run, caller: Caller, rows: Rows, database_kind: str
) -> None:
    """Whatever is tried: here it is a constraint that nobody knows of."""
    run(accounts.ensure_user(caller, "bob", None, None))
    if "sqlite" in database_kind:
        rows("CREATE TRIGGER no BEFORE INSERT ON users BEGIN SELECT RAISE(ABORT, 'no'); END")
    else:
        rows("ALTER TABLE users ADD CONSTRAINT no CHECK (id <> 'ada')")

    with pytest.raises(Conflict):
        run(accounts.ensure_user(caller, "ada", "ada@example.com", None))


@pytest.mark.parametrize(
    ("email", "name"),
    [("old@example.com", "Ada L."), ("new@example.com", None), (None, "Ada L."), ("bob@example.com", "Ada")],
    ids=["other", "nameless", "without-email", "email-of-another"],
)
def test_an_account_of_better_auth_is_left_as_it_is(
    run: Run, postgres: Postgres, postgres_url: str, email: str | None, name: str | None
) -> None:
    """Better Auth changes it; a token may be older than its last change."""
    database_of_better_auth = database_name(postgres_url)
    postgres.execute(
        database_of_better_auth,
        "CREATE TABLE users (id text PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE,"
        ' "emailVerified" boolean NOT NULL, created_at timestamptz NOT NULL)',
    )
    postgres.execute(
        database_of_better_auth,
        "INSERT INTO users VALUES ('ada', 'Ada', 'ada@example.com', true, now()),"
        " ('bob', 'Bob', 'bob@example.com', true, now())",
    )
    database = Database(Settings(secret=SECRET, database_url=postgres_url).database, pool_size=1, prepare=prepare)
    run(accounts.ensure_user(database.caller("ada"), "ada", "ada@example.com", "Ada"))
    run(accounts.ensure_user(database.caller("ada"), "ada", email, name))
    database.close()

    assert postgres.execute(database_of_better_auth, "SELECT id, email, name FROM users ORDER BY id") == [
        ("ada", "ada@example.com", "Ada"),
        ("bob", "bob@example.com", "Bob"),
    ]


def test_better_auth_can_insert_into_our_table(run: Run, caller: Caller, rows: Rows) -> None:
    """It knows nothing of our columns, which therefore have defaults."""
    run(accounts.ensure_user(caller, "bob", None, None))
    rows("INSERT INTO users (id, name, email) VALUES ('ada', 'Ada', 'ada@example.com')")
    run(accounts.ensure_user(caller, "ada", "ada@example.com", "Ada"))

    assert rows("SELECT id, created_at IS NOT NULL FROM users WHERE id = 'ada'") == [("ada", True)]


def test_the_rest_of_a_list_waits_for_its_turn(run: Run, caller: Caller) -> None:
    """However fast it is: a long list must not keep the event loop from one end to the other."""
    run(accounts.ensure_user(caller, "ada", None, None))
    rows = [run(store.create_task(caller, "ada", NEW)) for _ in range(2)]

    async def ends_at_once() -> bool:
        rest = asyncio.create_task(
            store.list_tasks(caller, "ada", "all", "created", 10, Position(rows[1].created_at, rows[1].id))
        )
        await asyncio.sleep(0)
        at_once = rest.done()
        assert [row.id for row in await rest] == [rows[0].id]
        return at_once

    assert not run(ends_at_once())


@pytest.mark.parametrize("sort", ["created", "title", "due_date"])
def test_a_page_goes_on_after_its_position(run: Run, caller: Caller, sort: Sort) -> None:
    run(accounts.ensure_user(caller, "ada", None, None))
    for number in range(6):
        due = date(2026, 1, 1 + number // 2) if number < 4 else None
        run(store.create_task(caller, "ada", {**NEW, "title": "aA"[number % 2], "due_date": due}))
    whole = run(store.list_tasks(caller, "ada", "all", sort, 10))
    keys = {"created": "created_at", "title": "title", "due_date": "due_date"}

    for index, row in enumerate(whole):
        position = Position(getattr(row, keys[sort]), row.id)
        assert run(store.list_tasks(caller, "ada", "all", sort, 10, position)) == whole[index + 1 :]
