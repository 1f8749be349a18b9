"""With tasks in partitions by their owner, every statement of the store touches that person's partition alone."""

import asyncio
import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import chain, combinations, product
from typing import Any, NamedTuple

import psycopg2
import pytest
from sqlalchemy import Executable

import store
from database import Caller, Database, Executables
from database.postgres import DIALECT
from database.statements import Batch, Statement
from migrations.layout import prepare
from paging import MAXIMUM_ID, Position, Since, Sort, Status
from queries import bulk, changes, people, transfer
from queries.idempotency import IdempotencyKey
from settings import Settings
from tests.support.partitions import PARTITIONS
from tests.support.servers import Postgres
from tests.support.tokens import SECRET

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.UTC)
DAY = datetime.date(2026, 1, 31)
TASK: dict[str, Any] = {"title": "Write", "description": None, "completed": True, "due_date": DAY}
STATUSES: list[Status] = ["all", "pending", "completed"]
# By order, the keys of positions in it.
POSITIONS: dict[Sort, list[Any]] = {"created": [NOW], "title": ["Write"], "due_date": [DAY, None]}
PEOPLE = 200
PERSON = "7"

ONCE = IdempotencyKey("key", "fingerprint")
# Tables that have no partitions.
WHOLE = {"users", "tasks", "idempotency_keys", "change_clocks", "deleted_tasks"}

Sent = tuple[Executable, Mapping[str, Any]]


class Row(NamedTuple):
    """What satisfies the store."""

    number: int
    fingerprint: str
    kept_at: datetime.datetime
    answered: int
    id: int
    updated_at: datetime.datetime
    latest: datetime.datetime
    forgotten: datetime.datetime


def of_tasks(statement: Executable) -> bool:
    return re.search(r"\btasks\b", Statement(statement, DIALECT).sql) is not None


def creates(statement: Executable) -> bool:
    return Statement(statement, DIALECT).sql.startswith("INSERT INTO tasks ")


class Recording(Caller):
    """Keeps what the store would have run, and answers with no row."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, PERSON)
        self.sent: list[Sent] = []
        self.batches: list[tuple[tuple[Executable, ...], Mapping[str, Any]]] = []

    async def execute(self, statement: Executables, values: Mapping[str, Any] | None = None) -> Any:
        complete = values or {}
        if isinstance(statement, tuple):
            self.batches.append((statement, complete))
        else:
            statement = (statement,)
        # A new task is tried with the rest of its batch, because no plan shows where it goes.
        self.sent += [(each, complete) for each in statement if of_tasks(each) and not creates(each)]
        return (Row(0, ONCE.fingerprint, NOW, 1, 1, NOW, NOW, NOW),)


def some_of(names: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every choice of these columns, but for none of them."""
    chosen = chain.from_iterable(combinations(names, count) for count in range(1, len(names) + 1))
    return ({name: names[name] for name in each} for each in chosen)


async def call_everything(caller: Recording) -> None:
    """Each function of the store on tasks, and of what changed since, in each of its variants."""
    variants = [*product((None, NOW), (None, ONCE))]
    await store.create_task(caller, PERSON, TASK)
    await store.create_task(caller, PERSON, TASK, key=ONCE)
    for values in some_of(TASK):
        for expected, key in variants:
            await store.update_task(caller, PERSON, 1, values, expected, key)
    await store.update_task(caller, PERSON, 1, {})
    await store.get_task(caller, PERSON, 1)
    for expected, key in variants:
        await store.toggle_task(caller, PERSON, 1, expected, key)
    await store.delete_task(caller, PERSON, 1)
    await store.delete_task(caller, PERSON, 1, NOW)
    await store.count_tasks(caller, PERSON, 100)
    for status, (sort, keys) in product(STATUSES, POSITIONS.items()):
        for after in (None, *(Position(key, 1) for key in keys)):
            await store.list_tasks(caller, PERSON, status, sort, 20, after)
    for since in (None, Since(NOW, NOW, 1), Since(NOW, NOW, MAXIMUM_ID)):
        await changes.list_changes(caller, PERSON, since, 20)
        values = {"owner": PERSON, "now": NOW, "row_limit": 20}
    await caller.execute(changes.CATCH_UP, {**values, **Since(NOW, NOW, 1)._asdict()})
    for key in (None, ONCE):
        await bulk.create_tasks(caller, PERSON, [{**TASK, "due_date": str(DAY)}], key)
        await bulk.complete_tasks(caller, PERSON, True, "all", key)
    await bulk.delete_tasks(caller, PERSON, True)
    for after in (None, Position(NOW, 1)):
        await transfer.list_oldest(caller, PERSON, 20, after)
    for statement in people.STATEMENTS:
        await caller.execute(statement, {"owner": PERSON})


def opened(url: str) -> Database:
    return Database(Settings(secret=SECRET, database_url=url).database, pool_size=1, prepare=prepare)


def everything() -> Recording:
    recording = Recording(opened("postgresql://127.0.0.1:9/nowhere"))
    asyncio.run(call_everything(recording))
    return recording


RECORDED = everything()
SENT = RECORDED.sent


CREATIONS = [batch for batch in RECORDED.batches if any(map(creates, batch[0]))]


def named(sent: Iterable[tuple[Executables, Mapping[str, Any]]]) -> list[Any]:
    """With ids of a number, the kind of statement and the names of the values."""
    return [
        pytest.param((statement, values), id="-".join([f"{number:03}", type(statement).__name__.lower(), *values]))
        for number, (statement, values) in enumerate(sent)
    ]


@pytest.fixture(scope="module")
def cursor(postgres: Postgres, partitioned_template: str) -> Iterator[Any]:
    """A cursor in a database with 5 tasks of each of 200 people, without autocommit."""
    name = postgres.create_database(partitioned_template)
    postgres.execute(name, f"INSERT INTO users (id) SELECT n::text FROM generate_series(1, {PEOPLE}) n")
    postgres.execute(
        name,
        "INSERT INTO tasks (user_id, title, completed, created_at, updated_at)"
        f" SELECT (n % {PEOPLE} + 1)::text, 'Task ' || n, n % 7 = 0, now(), now() FROM generate_series(1, 1000) n",
    )
    postgres.execute(name, "ANALYZE")
    with closing(psycopg2.connect(postgres.url(name))) as connection, connection.cursor() as cursor:
        yield cursor
    postgres.drop_database(name)


@pytest.fixture
def partition(cursor: Any) -> Iterator[str]:
    """Where that person's tasks are; everybody's together are in all partitions. Nothing of the test stays."""
    cursor.execute("SELECT count(DISTINCT tableoid) FROM tasks")
    assert cursor.fetchall() == [(PARTITIONS,)]
    cursor.execute("SELECT DISTINCT tableoid::regclass::text FROM tasks WHERE user_id = %s", [PERSON])
    ((name,),) = cursor.fetchall()
    # What was read above is not to be counted for the test.
    cursor.execute("SELECT pg_stat_force_next_flush()")
    cursor.connection.rollback()
    yield name
    cursor.connection.rollback()


def run(cursor: Any, sent: Sent, how: str = "") -> list[tuple[Any, ...]]:
    """As the app sends it: with its values written into the text."""
    statement = Statement(sent[0], DIALECT)
    cursor.execute(f"{how}{statement.sql}", statement.values(sent[1]))
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def noted(plan: Any, name: str) -> set[Any]:
    """What has this name anywhere in a plan, which is nested lists and objects."""
    if isinstance(plan, list):
        return set().union(*(noted(each, name) for each in plan))
    if isinstance(plan, dict):
        return noted(list(plan.values()), name) | ({plan[name]} if name in plan else set())
    return set()


@pytest.mark.parametrize("sent", named(SENT))
def test_a_statement_is_planned_for_one_partition(cursor: Any, partition: str, sent: Sent) -> None:
    """An update or a delete names the whole table, too."""
    ((plan,),) = run(cursor, sent, "EXPLAIN (FORMAT JSON) ")

    assert noted(plan, "Relation Name") - WHOLE == {partition}
    # None is left out only when the plan is run; a union notes that of its parts.
    assert noted(plan, "Subplans Removed") <= {0}


@pytest.mark.parametrize("batch", named(CREATIONS))
def test_a_new_task_touches_one_partition(
    cursor: Any, partition: str, batch: tuple[tuple[Executable, ...], Mapping[str, Any]]
) -> None:
    """With the move of the clock before it, and what keeps the answer after it."""
    statements = Batch(batch[0], DIALECT)
    cursor.execute(statements.sql, statements.values(batch[1]))
    (row,) = cursor.fetchall()
    id_ = row[[column.name for column in cursor.description].index("id")]

    cursor.execute(
        "SELECT relname, n_tup_ins FROM pg_stat_xact_user_tables"
        " WHERE relname ~ '^tasks' AND n_tup_ins + seq_scan + idx_scan > 0"
    )
    assert cursor.fetchall() == [(partition, 1)]
    cursor.execute("SELECT tableoid::regclass::text, user_id FROM tasks WHERE id = %s", [id_])
    assert cursor.fetchall() == [(partition, PERSON)]


def test_the_statements_above_are_all_that_touch_tasks() -> None:
    """Those that are compiled at start are among them, but for those of users alone."""
    known = {Statement(statement, DIALECT).sql for statement, _ in SENT}
    known |= {Statement(each, DIALECT).sql for batch, _ in CREATIONS for each in batch}

    # The insert of an import is that of many tasks, with their times.
    at_start = (*store.STATEMENTS, *bulk.STATEMENTS, *changes.STATEMENTS, *people.STATEMENTS, *transfer.STATEMENTS[:2])
    compiled = [each if isinstance(each, tuple) else (each,) for each in at_start]
    sent = {Statement(each, DIALECT).sql for batch in compiled for each in batch if of_tasks(each)}

    assert sent - known == set()
    # An update and a toggle with a key are followed by what keeps the answer, as a creation with a key is; a delete is
    # preceded by what keeps the id. An update of no columns, a get and a count.
    assert (
        len(SENT)
        == 15 * 2 * (1 + 2) + 2 * (1 + 2) + 1 + 2 * 2 + 3 + 3 * (2 + 2 + 3) + 3 + 2 + 2 + 2 + 2 + 2 + 2 + 1 + 2
    )
    # With a key and without.
    assert len(CREATIONS) == 2 + 2
