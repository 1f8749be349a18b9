"""The store alone: functions of a session, without HTTP and without threads."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

import store
from database import Database
from paging import Position, Sort
from settings import Settings
from tables import TASKS, create_tables
from tests.conftest import Rows, database_name
from tests.servers import Postgres

NEW = {"title": "Write", "description": None, "completed": False, "due_date": None}


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database, pool_size=2, prepare=create_tables)
    yield database
    database.close()


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A session as the engine gives one to a store function: every statement commits by itself."""
    with database.threads.engine.connect() as connection:
        create_tables(connection)
        with Session(connection) as session:
            yield session


def test_creating_the_tables_again_keeps_what_is_in_them(session: Session, rows: Rows) -> None:
    store.ensure_user(session, "ada", None, None)
    create_tables(session.connection())

    assert rows("SELECT id, email, name FROM users") == [("ada", None, None)]


def test_creating_the_tables_is_all_or_nothing(database: Database, rows: Rows) -> None:
    """A failure half-way leaves neither a table nor an open transaction behind."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("half-way")

    event.listen(TASKS, "before_create", fail)
    with database.threads.engine.connect() as connection:
        with pytest.raises(RuntimeError, match="half-way"):
            create_tables(connection)
        event.remove(TASKS, "before_create", fail)
        assert not sqlalchemy.inspect(connection).has_table("users")
        create_tables(connection)

    assert rows("SELECT count(*) FROM tasks") == [(0,)]


def test_each_function_of_tasks_is_one_statement(session: Session) -> None:
    store.ensure_user(session, "ada", None, None)
    task = store.create_task(session, "ada", NEW)
    statements: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement.split()[0])

    event.listen(session.connection(), "before_cursor_execute", hear)
    store.create_task(session, "ada", NEW)
    store.get_task(session, "ada", task.id)
    store.list_tasks(session, "ada", "all", "created", 10)
    store.update_task(session, "ada", task.id, {"title": "Rewrite"})
    store.update_task(session, "ada", task.id, {})
    store.toggle_task(session, "ada", task.id)
    store.delete_task(session, "ada", task.id)
    store.ensure_user(session, "ada", None, None)

    assert statements == ["INSERT", "SELECT", "SELECT", "UPDATE", "SELECT", "UPDATE", "DELETE", "SELECT"]


def test_a_task_of_nobody_is_refused(session: Session, rows: Rows) -> None:
    with pytest.raises(IntegrityError):
        store.create_task(session, "nobody", NEW)

    assert rows("SELECT count(*) FROM tasks") == [(0,)]


def test_tasks_go_with_their_user(session: Session, rows: Rows) -> None:
    store.ensure_user(session, "ada", None, None)
    store.create_task(session, "ada", NEW)

    rows("DELETE FROM users WHERE id = 'ada'")

    assert rows("SELECT count(*) FROM tasks") == [(0,)]


def test_an_id_is_never_given_twice(session: Session) -> None:
    store.ensure_user(session, "ada", None, None)
    first = store.create_task(session, "ada", NEW)
    store.delete_task(session, "ada", first.id)

    assert store.create_task(session, "ada", NEW).id > first.id


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
def test_an_update_changes_what_it_names_and_the_time(session: Session, changes: dict[str, Any]) -> None:
    store.ensure_user(session, "ada", None, None)
    before = store.create_task(session, "ada", NEW)

    after = store.update_task(session, "ada", before.id, changes)
    again = store.update_task(session, "ada", before.id, changes)

    assert after is not None
    assert after._asdict() == {**before._asdict(), **changes, "updated_at": after.updated_at}
    assert after.updated_at > before.updated_at
    assert again == after


def test_an_email_that_moved_leaves_the_old_row_its_tasks(session: Session, rows: Rows) -> None:
    store.ensure_user(session, "old", "ada@example.com", "Ada")
    store.create_task(session, "old", NEW)

    store.ensure_user(session, "new", "ada@example.com", "Ada")

    assert rows("SELECT id, email FROM users ORDER BY id") == [("new", "ada@example.com"), ("old", None)]
    assert rows("SELECT user_id FROM tasks") == [("old",)]


def test_a_user_that_somebody_else_inserted_in_between_is_read_again(session: Session, rows: Rows) -> None:
    """The row appears after it was looked for and before it is inserted."""

    def interfere(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO users") and rows("SELECT count(*) FROM users") == [(0,)]:
            rows("INSERT INTO users (id, email) VALUES ('ada', 'old@example.com')")

    event.listen(session.connection(), "before_cursor_execute", interfere)
    store.ensure_user(session, "ada", "new@example.com", "Ada")

    assert rows("SELECT id, email, name FROM users") == [("ada", "new@example.com", "Ada")]


def test_an_email_that_others_keep_taking_is_given_up(session: Session, rows: Rows) -> None:
    """Each time before the insert somebody else has it again; the person is let in without."""
    rows("INSERT INTO users (id) VALUES ('bob')")

    def interfere(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO users"):
            rows("UPDATE users SET email = 'ada@example.com' WHERE id = 'bob'")

    event.listen(session.connection(), "before_cursor_execute", interfere)
    store.ensure_user(session, "ada", "ada@example.com", "Ada")

    assert rows("SELECT id, email, name FROM users ORDER BY id") == [
        ("ada", None, "Ada"),
        ("bob", "ada@example.com", None),
    ]


def test_a_user_whom_the_table_refuses_is_an_error(postgres: Postgres, postgres_url: str) -> None:
    """As a table that Better Auth made first refuses a new row, whatever is tried."""
    name = database_name(postgres_url)
    columns = "id text PRIMARY KEY, name text NOT NULL, email text UNIQUE, created_at timestamptz"
    postgres.execute(name, f"CREATE TABLE users ({columns})")
    database = Database(
        Settings(secret="x" * 32, database_url=postgres_url).database, pool_size=1, prepare=create_tables
    )
    with database.threads.engine.connect() as connection, Session(connection) as session, pytest.raises(IntegrityError):
        store.ensure_user(session, "ada", "ada@example.com", None)
    database.close()


@pytest.mark.parametrize(
    ("email", "name", "rows"),
    [
        ("new@example.com", "Ada L.", [("ada", "new@example.com", "Ada L."), ("bob", "bob@example.com", "Bob")]),
        # What the table refuses leaves the row as it is.
        ("new@example.com", None, [("ada", "ada@example.com", "Ada"), ("bob", "bob@example.com", "Bob")]),
        (None, "Ada L.", [("ada", "ada@example.com", "Ada"), ("bob", "bob@example.com", "Bob")]),
        ("bob@example.com", "Ada", [("ada", "ada@example.com", "Ada"), ("bob", "bob@example.com", "Bob")]),
    ],
    ids=["new", "nameless", "without-email", "email-of-another"],
)
def test_an_existing_row_of_better_auth_is_never_inserted_again(
    postgres: Postgres, postgres_url: str, email: str | None, name: str | None, rows: list[tuple[str, str, str]]
) -> None:
    """In a table that Better Auth made, columns without a default would refuse our insert."""
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
    url = Settings(secret="x" * 32, database_url=postgres_url).database
    database = Database(url, pool_size=1, prepare=create_tables)
    with database.threads.engine.connect() as connection, Session(connection) as session:
        create_tables(connection)
        store.ensure_user(session, "ada", "ada@example.com", "Ada")
        store.ensure_user(session, "ada", email, name)
    database.close()

    assert postgres.execute(database_of_better_auth, "SELECT id, email, name FROM users ORDER BY id") == rows


def test_better_auth_can_insert_into_our_table(session: Session, rows: Rows) -> None:
    """It knows nothing of our columns, which therefore have defaults."""
    rows("INSERT INTO users (id, name, email) VALUES ('ada', 'Ada', 'ada@example.com')")
    store.ensure_user(session, "ada", "ada@example.com", "Ada")

    assert rows("SELECT id, created_at IS NOT NULL FROM users") == [("ada", True)]


@pytest.mark.parametrize("sort", ["created", "title", "due_date"])
def test_a_page_goes_on_after_its_position(session: Session, sort: Sort) -> None:
    store.ensure_user(session, "ada", None, None)
    for number in range(6):
        due = date(2026, 1, 1 + number // 2) if number < 4 else None
        store.create_task(session, "ada", {**NEW, "title": "aA"[number % 2], "due_date": due})
    whole = store.list_tasks(session, "ada", "all", sort, 10)
    keys = {"created": "created_at", "title": "title", "due_date": "due_date"}

    for index, row in enumerate(whole):
        position = Position(getattr(row, keys[sort]), row.id)
        assert store.list_tasks(session, "ada", "all", sort, 10, position) == whole[index + 1 :]
