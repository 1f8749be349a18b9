"""Databases of every earlier layout: brought up to date they are like new ones, and no row is lost or changed.

`tests/database/layouts` has them, and says how one is added. What the contract promises is tested on such databases in
`tests/api/test_store.py`, whose tests run on the kinds `migrated` and `migrated-sqlite` too.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from migrations import LEAVING
from settings import Settings
from tests.conftest import RowsOf
from tests.database.following import Follower
from tests.database.layouts.__main__ import dump_of_sqlite
from tests.support.backend import ROOT
from tests.support.dumps import LAYOUTS, bring_up_to_date, dump, restore_sqlite
from tests.support.servers import PgBouncer, Postgres
from tests.support.tokens import SECRET, bearer, token_of

# In the order of the first layout. A later one may have more.
USERS = "SELECT id, email, name, created_at FROM users ORDER BY id"
TASKS = "SELECT id, user_id, title, description, completed, due_date, created_at, updated_at FROM tasks ORDER BY id"
# The last id that was given to a task. It and the two before it were deleted.
COUNTER = {
    "sqlite": "SELECT seq FROM sqlite_sequence WHERE name = 'tasks'",
    "postgresql": "SELECT last_value FROM tasks_id_seq",
}

# What two databases have to agree in. Columns by name: a revision adds its own at the end.
LAYOUT = {
    "sqlite": (
        "SELECT t.name, c.name, c.type, c.\"notnull\" OR c.pk, c.dflt_value, c.pk, t.sql LIKE '%AUTOINCREMENT%'"
        " FROM sqlite_master t JOIN pragma_table_xinfo(t.name) c WHERE t.type = 'table' ORDER BY 1, 2",
        'SELECT t.name, f."table", f."from", f."to", f.on_update, f.on_delete FROM sqlite_master t'
        " JOIN pragma_foreign_key_list(t.name) f ORDER BY 1, 2, 3",
        "SELECT tbl_name, name, sql FROM sqlite_master WHERE type NOT IN ('table') ORDER BY 2",
        'SELECT t.name, i.name, i."unique", i.origin, c.seqno, c.name, c."desc" FROM sqlite_master t'
        " JOIN pragma_index_list(t.name) i JOIN pragma_index_xinfo(i.name) c ORDER BY 1, 2, 5",
        "SELECT * FROM todo_schema_version",
    ),
    "postgresql": (
        "SELECT table_name, column_name, data_type, character_maximum_length, datetime_precision, collation_name,"
        " is_nullable, column_default, identity_generation, identity_start, identity_increment, is_generated"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
        "SELECT indexrelid::regclass::text, indisvalid, indisready, indislive FROM pg_index"
        " WHERE indrelid::regclass::text IN ('users', 'tasks') ORDER BY 1",
        "SELECT relname, relkind, relpersistence FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
        "SELECT sequencename, data_type::text, increment_by, max_value, cache_size FROM pg_sequences ORDER BY 1",
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        "SELECT * FROM todo_schema_version",
    ),
}

Former = Callable[[str], str]
Update = Callable[[str], None]
Layout = list[list[tuple[Any, ...]]]


def start(url: str) -> None:
    """Start the app there, and end it."""
    with TestClient(create_app(Settings(secret=SECRET, database_url=url))) as client:
        assert client.get("/ready").status_code == 200


@pytest.fixture(params=["sqlite", "postgresql", "pgbouncer"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def former(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Former]:
    """Restore a layout in a new database, and give its URL."""
    if kind == "sqlite":

        def restored(layout: str) -> str:
            restore_sqlite(tmp_path / "former.db", layout)
            return f"sqlite:///{tmp_path}/former.db"

        yield restored
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    name = postgres.create_database()
    server: Postgres | PgBouncer = postgres if kind == "postgresql" else request.getfixturevalue("pgbouncer")

    def restore(layout: str) -> str:
        postgres.execute(name, dump(layout, "postgresql"))
        return server.url(name)

    yield restore
    postgres.drop_database(name)


def layout_of(url: str, rows_of: RowsOf) -> Layout:
    """Without columns that leave, which new databases never had."""
    return [[row for row in rows_of(url, query) if row[:2] not in LEAVING] for query in LAYOUT[dialect(url)]]


def dialect(url: str) -> str:
    return url.partition(":")[0]


@pytest.fixture
def new(kind: str, rows_of: RowsOf, request: pytest.FixtureRequest) -> Layout:
    """That of a new database."""
    url = str(request.getfixturevalue("sqlite_url" if kind == "sqlite" else "postgres_url"))
    start(url)
    return layout_of(url, rows_of)


each_layout = pytest.mark.parametrize("layout", LAYOUTS)
each_way = pytest.mark.parametrize("update", [bring_up_to_date, start], ids=["by-release", "at-start"])


@each_layout
@each_way
def test_every_row_stays_as_it_is_and_no_id_is_given_again(
    former: Former, rows_of: RowsOf, update: Update, layout: str
) -> None:
    url = former(layout)
    before = rows_of(url, USERS), rows_of(url, TASKS)
    ((counter,),) = rows_of(url, COUNTER[dialect(url)])
    assert [len(table) for table in before] == [6, 54]
    assert max(task[0] for task in before[1]) == counter - 3

    update(url)

    assert (rows_of(url, USERS), rows_of(url, TASKS)) == before
    with TestClient(create_app(Settings(secret=SECRET, database_url=url)), headers=bearer(token_of("grace"))) as grace:
        created = grace.post("/api/tasks", json={"title": "Next"})
    assert (created.status_code, created.json()["id"]) == (201, counter + 1)


@each_layout
@each_way
def test_what_was_brought_up_to_date_is_like_a_new_database(
    former: Former, new: Layout, rows_of: RowsOf, update: Update, layout: str
) -> None:
    """And stays so, whoever looks again."""
    url = former(layout)

    update(url)
    first = layout_of(url, rows_of)
    start(url)

    assert first == new
    assert layout_of(url, rows_of) == new


def test_people_find_their_tasks_as_they_were(former: Former, rows_of: RowsOf) -> None:
    """Of the oldest layout, with titles that are refused today, and dates at both ends of the calendar."""
    url = former(LAYOUTS[0])
    stored: dict[str, list[tuple[Any, ...]]] = {}
    for id_, owner, title, description, completed, due_date, *_ in rows_of(url, TASKS):
        stored.setdefault(owner, []).append((id_, title, description, bool(completed), due_date and str(due_date)))

    with TestClient(create_app(Settings(secret=SECRET, database_url=url))) as client:
        for person, tasks in stored.items():
            found = client.get("/api/tasks?sort=due_date", headers=bearer(token_of(person))).json()
            values = ("id", "title", "description", "completed", "due_date")
            assert sorted(tuple(task[name] for name in values) for task in found) == tasks
    assert len(stored) == 4


@each_layout
def test_whoever_follows_the_changes_sees_all_tasks_from_before_the_upgrade(
    former: Former, rows_of: RowsOf, layout: str
) -> None:
    """And then each change and each delete, by the token. Nobody has a clock yet in the older layouts."""
    url = former(layout)
    stored: dict[str, list[int]] = {}
    for id_, owner, *_ in rows_of(url, TASKS):
        stored.setdefault(owner, []).append(id_)

    found = {}
    with TestClient(create_app(Settings(secret=SECRET, database_url=url))) as client:
        for person, (first, *others) in stored.items():
            client.headers.update(bearer(token_of(person)))
            follower = Follower(client)
            ids, none = follower.news()
            assert client.patch(f"/api/tasks/{first}", json={"description": "Changed"}).status_code == 200
            changed = follower.news()
            assert client.delete(f"/api/tasks/{first}").status_code == 204
            found[person] = sorted(ids), none, changed, follower.news()
            assert follower.tasks.keys() == set(others)

    assert len(found) == 4
    assert found == {person: (ids, [], ([ids[0]], []), ([], [ids[0]])) for person, ids in stored.items()}


def test_the_newest_layout_that_was_kept_is_that_of_a_new_database(
    former: Former, new: Layout, rows_of: RowsOf
) -> None:
    """If this fails, new databases differ from those before: add their layout, as `tests/database/layouts` says."""
    assert layout_of(former(LAYOUTS[-1]), rows_of) == new


def test_the_present_layout_can_be_kept(rows_of: RowsOf, tmp_path: Path) -> None:
    """By the command of `tests/database/layouts`, here without PostgreSQL."""
    kept, url = dump_of_sqlite(ROOT), f"sqlite:///{tmp_path}/new.db"
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        connection.executescript(kept)

    counted = [rows_of(url, f"SELECT count(*) FROM {table}") for table in ("users", "tasks", "todo_schema_version")]

    assert counted == [[(6,)], [(54,)], [(1,)]]
