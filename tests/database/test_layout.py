"""Tables as others made them: what fits is used as it is, and what does not is refused in a sentence."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import store
from database import NotPrepared
from paging import Sort
from queries import accounts
from tests.conftest import Rows, RowsOf
from tests.database.conftest import Connect, Run
from tests.database.foreign import Changes, tables

HINT = "if the table belongs to another program, give this app a database or a schema of its own"
UNFILLED = "has to be filled, which this app does not do"
NEW = {"title": "Write", "description": None, "completed": False, "due_date": None}

Make = Callable[..., str]


@pytest.fixture
def make(rows_of: RowsOf, request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Run statements in a fresh database of that kind, and give its URL."""

    def made(kind: str, *statements: str) -> str:
        url = f"sqlite:///{tmp_path}/todo.db" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))
        for statement in statements:
            rows_of(url, statement)
        return url

    return made


def cases(*listed: tuple[str, Any, *tuple[Any, ...]]) -> list[Any]:
    """With ids. What is meant for "both" comes twice."""
    return [
        pytest.param(kind, *what, id=f"{kind}-{what[0]}")
        for of, *what in listed
        for kind in (("postgresql", "sqlite") if of == "both" else (of,))
    ]


@pytest.mark.parametrize(
    ("kind", "changes", "fault"),
    cases(
        ("both", {"tasks.due_date": None}, "table tasks has no column due_date"),
        ("both", {"users.email": None}, "table users has no column email"),
        ("both", {"users.created_at": None}, "table users has no column created_at"),
        ("both", {"tasks.list_id": "integer NOT NULL"}, f"column tasks.list_id {UNFILLED}"),
        ("both", {"tasks.description": "text NOT NULL DEFAULT ''"}, f"column tasks.description {UNFILLED}"),
        ("postgresql", {"tasks.id": "bigint"}, f"column tasks.id {UNFILLED}"),
        (
            "postgresql",
            {"tasks.id": "uuid DEFAULT gen_random_uuid()"},
            "column tasks.id is uuid, where bigint is needed",
        ),
        (
            "postgresql",
            {"users.id": "uuid PRIMARY KEY", "tasks.user_id": "uuid"},
            "column users.id is uuid, where text is needed",
        ),
        (
            "postgresql",
            {"users.id": "serial PRIMARY KEY", "tasks.user_id": "int"},
            "column users.id is integer, where text is needed",
        ),
        ("postgresql", {"tasks.user_id": "uuid"}, "column tasks.user_id is uuid, where text is needed"),
        (
            "postgresql",
            {"tasks.created_at": "timestamp"},
            "column tasks.created_at is timestamp without time zone, where timestamp with time zone is needed",
        ),
        (
            "postgresql",
            {"tasks.due_date": "timestamptz"},
            "column tasks.due_date is timestamp with time zone, where date is needed",
        ),
        ("postgresql", {"tasks.title": "text[]"}, "column tasks.title is text[], where text is needed"),
        (
            "postgresql",
            {"tasks.completed": "boolean GENERATED ALWAYS AS (title IS NULL) STORED"},
            "column tasks.completed is read-only, where boolean is needed",
        ),
        ("sqlite", {"tasks.id": "TEXT PRIMARY KEY"}, "column tasks.id is text, where integer is needed"),
        ("sqlite", {"tasks.id": "BIGINT PRIMARY KEY"}, f"column tasks.id {UNFILLED}"),
        ("sqlite", {"users.id": "INTEGER PRIMARY KEY"}, "column users.id is integer, where text is needed"),
        ("sqlite", {"tasks.created_at": "INTEGER"}, "column tasks.created_at is integer, where datetime is needed"),
    ),
)
def test_tables_of_another_program_are_refused_in_a_sentence(
    run: Run, connect: Connect, make: Make, kind: str, changes: Changes, fault: str
) -> None:
    statements = [
        statement.replace("user_id uuid REFERENCES", "user_id uuid, x") for statement in tables(kind, changes)
    ]
    database = connect(make(kind, *statements))

    with pytest.raises(NotPrepared) as refused:
        run(database.ready())

    assert str(refused.value) == f"the {fault}; {HINT}"


@pytest.mark.parametrize(
    ("kind", "users"),
    cases(
        ("both", "CREATE VIEW users AS SELECT 'ada' AS id, '' AS email, '' AS name"),
        ("both", "CREATE TABLE users (id integer PRIMARY KEY, username varchar(50))"),
    ),
)
def test_nothing_is_created_beside_a_table_that_is_refused(
    run: Run, connect: Connect, make: Make, rows_of: RowsOf, kind: str, users: str
) -> None:
    url = make(kind, users)
    database = connect(url)

    with pytest.raises(NotPrepared, match=rf"^the column users\.id is (read-only|integer), .*; {HINT}$"):
        run(database.ready())

    with pytest.raises(Exception, match="tasks"):
        rows_of(url, "SELECT * FROM tasks")


@pytest.mark.parametrize(
    ("kind", "changes"),
    cases(
        ("both", {"tasks.notes": "text", "tasks.rank": "integer NOT NULL DEFAULT 0", "users.image": "text"}),
        ("both", {"users.id": "varchar(255) PRIMARY KEY", "tasks.user_id": "varchar(255) REFERENCES users"}),
        ("both", {"tasks.title": "varchar(200) NOT NULL", "tasks.user_id": "text NOT NULL"}),
        ("postgresql", {"users.id": "char(3) PRIMARY KEY", "tasks.user_id": "char(3) REFERENCES users"}),
        ("postgresql", {"tasks.id": "serial PRIMARY KEY"}),
        ("postgresql", {"tasks.id": "int GENERATED ALWAYS AS IDENTITY"}),
        ("postgresql", {"tasks.id": "bigint NOT NULL DEFAULT floor(random() * 1e15)"}),
        ("postgresql", {"tasks.search": "tsvector GENERATED ALWAYS AS (to_tsvector('simple', title)) STORED"}),
        ("postgresql", {"tasks.title": "word NOT NULL", "tasks.kind": "kind NOT NULL"}),
        ("postgresql", {"tasks.made_by": "text NOT NULL DEFAULT current_user"}),
        ("sqlite", {"tasks.completed": "INTEGER NOT NULL DEFAULT 0", "tasks.created_at": "TIMESTAMP"}),
        ("sqlite", {"tasks.title": "NVARCHAR(200)", "tasks.due_date": "TEXT", "tasks.updated_at": "TEXT"}),
    ),
)
def test_tables_that_fit_are_used_as_they_are(
    run: Run, connect: Connect, make: Make, kind: str, changes: Changes
) -> None:
    domains = ["CREATE DOMAIN word AS varchar(200) CHECK (VALUE <> '')", "CREATE DOMAIN kind AS text DEFAULT 'task'"]
    url = make(kind, *([] if kind == "sqlite" else domains), *tables(kind, changes))

    use(run, connect, url)


def use(run: Run, connect: Connect, url: str) -> None:
    """Every function of the store works there."""
    caller = connect(url).caller("ada")
    run(accounts.ensure_user(caller, "ada", "ada@example.com", "Ada"))
    run(accounts.ensure_user(caller, "ada", "ada@example.com", "Ada L."))
    tasks = [run(store.create_task(caller, "ada", NEW | {"title": title})) for title in ("b", "A")]
    changed = run(store.update_task(caller, "ada", tasks[0].id, {"due_date": date(2026, 1, 31)}))
    toggled = run(store.toggle_task(caller, "ada", tasks[1].id))
    orders: list[Sort] = ["created", "title", "due_date"]
    lists = [run(store.list_tasks(caller, "ada", "all", sort, 10)) for sort in orders]

    assert changed._asdict() == {**tasks[0]._asdict(), "due_date": date(2026, 1, 31), "updated_at": changed.updated_at}
    assert (toggled.completed, type(toggled.completed), toggled.title) == (True, bool, "A")
    assert lists == [[toggled, changed], [toggled, changed], [changed, toggled]]
    assert run(store.delete_task(caller, "ada", tasks[0].id)) is True


SLUG = "CREATE FUNCTION slug() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.slug = 'slug'; RETURN NEW; END$$"


def test_a_trigger_may_fill_a_column(run: Run, connect: Connect, make: Make) -> None:
    trigger = "CREATE TRIGGER slug BEFORE INSERT OR UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION slug()"
    url = make("postgresql", SLUG, *tables("postgresql", {"tasks.slug": "text NOT NULL"}), trigger)

    use(run, connect, url)


def test_views_that_take_writes_are_as_good_as_tables(run: Run, connect: Connect, make: Make, rows_of: RowsOf) -> None:
    url = make("postgresql", *tables("postgresql", {"users.created_at": "timestamptz"}))
    run(connect(url).ready())
    for table in ("users", "tasks"):
        rows_of(url, f"ALTER TABLE {table} RENAME TO {table}_2")
        rows_of(url, f"CREATE VIEW {table} AS SELECT * FROM {table}_2")

    use(run, connect, url)


def test_tables_of_another_schema_are_found_by_the_search_path(
    run: Run, connect: Connect, make: Make, rows_of: RowsOf
) -> None:
    """Somebody else's tables in `public` are none of ours."""
    url = make("postgresql", "CREATE SCHEMA todo", *tables("postgresql", {"tasks.title": None}))

    use(run, connect, f"{url}?options=-csearch_path%3Dtodo")

    assert rows_of(url, "SELECT title FROM todo.tasks") == [("A",)]
    assert rows_of(url, "SELECT count(*) FROM public.tasks") == [(0,)]


def test_missing_indexes_are_built_at_once_on_sqlite_and_by_a_release_on_postgresql(
    run: Run, connect: Connect, database_url: str, rows: Rows
) -> None:
    """SQLite's get the missing indexes at once; PostgreSQL's wait for the release, so that nobody's writes wait."""
    run(connect(database_url).ready())
    for index in ("ix_tasks_user_id_due_date", "ix_tasks_user_id_title"):
        rows(f"DROP INDEX IF EXISTS {index}")
    database = connect(database_url)

    run(database.ready())

    missing = [] if "sqlite" in database_url else ["ix_tasks_user_id_due_date", "ix_tasks_user_id_title"]
    assert (database.layout.owns_users, database.layout.missing_indexes) == (True, missing)
    use(run, connect, database_url)


def test_creating_the_tables_again_keeps_what_is_in_them(
    run: Run, connect: Connect, database_url: str, rows: Rows
) -> None:
    database = connect(database_url)
    run(accounts.ensure_user(database.caller("ada"), "ada", None, None))
    rows("DROP TABLE tasks")

    run(database.ready())

    assert rows("SELECT id, email, name FROM users") == [("ada", None, None)]
    assert rows("SELECT count(*) FROM tasks") == [(0,)]


@pytest.mark.parametrize(
    ("kind", "obstacle", "reason"),
    [
        ("postgresql", "CREATE TYPE tasks AS ENUM ()", 'type "tasks" already exists (42710)'),
        ("sqlite", "CREATE INDEX tasks ON others (x)", "there is already an index named tasks"),
    ],
    ids=["postgresql", "sqlite"],
)
def test_creating_the_tables_is_all_or_nothing(
    run: Run, connect: Connect, make: Make, rows_of: RowsOf, kind: str, obstacle: str, reason: str
) -> None:
    """A failure half-way leaves neither a table nor an open transaction behind."""
    url = make(kind, "CREATE TABLE others (x text)", obstacle)
    database = connect(url)

    with pytest.raises(NotPrepared) as refused:
        run(database.ready())
    assert str(refused.value) == f"tables are missing and cannot be created: {reason}"
    with pytest.raises(Exception, match="users"):
        rows_of(url, "SELECT * FROM users")

    rows_of(url, "DROP TABLE others" if kind == "sqlite" else "DROP TYPE tasks")
    use(run, connect, url)
