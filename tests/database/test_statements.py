"""Compiled statements: the conversion of values and rows, and which statements are refused."""

import datetime
import uuid
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Dialect,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    bindparam,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy import Enum as EnumType
from sqlalchemy.schema import CreateTable
from sqlmodel.sql.sqltypes import UTCDateTime

import database.postgres
import database.sqlite
from database import Conflict, Database, DatabaseUnavailable, Engine
from database.statements import Batch, Statement
from tests.database.conftest import FOREVER, Connect, Run, recover, write

DIALECTS = [database.postgres.DIALECT, database.sqlite.DIALECT]

metadata = MetaData()


class Colour(Enum):
    RED = "r"
    GREEN = "g"


THINGS = Table(
    "things",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text),
    Column("colour", EnumType(Colour, native_enum=False)),
    Column("price", Numeric(10, 2)),
    Column("token", Uuid),
    Column("more", JSON),
    Column("seen_at", UTCDateTime),
)
VALUES = {
    "id": 1,
    "name": "A kettle",
    "colour": Colour.GREEN,
    "price": Decimal("12.50"),
    "token": uuid.UUID(int=7),
    "more": {"handles": [1, None]},
    "seen_at": datetime.datetime(2026, 1, 2, 5, 4, 5, 6, datetime.timezone(datetime.timedelta(hours=2))),
}
IN_UTC = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.UTC)


async def create_things(engine: Engine, deadline: float) -> None:
    await engine.transaction([str(CreateTable(THINGS).compile(dialect=engine.dialect))], deadline)


@pytest.fixture
def things(connect: Connect, database_url: str) -> Database:
    return connect(database_url, prepare=create_things)


def test_types_convert_values_and_rows_as_sqlalchemy_would(run: Run, things: Database) -> None:
    ada = things.caller("ada")

    run(ada.execute(insert(THINGS).values(VALUES)))
    run(ada.execute(insert(THINGS).values(id=2, name=None)))
    first, second = run(ada.execute(select(THINGS).order_by(THINGS.c.id)))

    assert first._asdict() == VALUES
    assert second._asdict() == dict.fromkeys(VALUES) | {"id": 2}
    assert first.seen_at.tzinfo is datetime.UTC


def test_moments_are_in_utc_whatever_the_time_zone_of_the_session(
    run: Run, connect: Connect, postgres_url: str
) -> None:
    database = connect(f"{postgres_url}?options=-c%20timezone%3DAsia%2FTokyo", prepare=create_things)

    run(database.caller("ada").execute(insert(THINGS).values(VALUES)))
    (row,) = run(database.caller("ada").execute(select(THINGS.c.seen_at)))

    assert (row.seen_at, row.seen_at.tzinfo) == (IN_UTC, datetime.UTC)


@pytest.mark.parametrize(
    "stored",
    ["2026-01-02 03:04:05.000006", "2026-01-02T03:04:05.000006Z", "2026-01-02T05:04:05.000006+02:00"],
    ids=["as we do", "in UTC", "with an offset"],
)
def test_moments_on_sqlite_may_have_been_stored_by_another_program(run: Run, connect: Connect, stored: str) -> None:
    database = connect("sqlite://", prepare=create_things)

    run(write(database, f"INSERT INTO things (seen_at) VALUES ('{stored}')"))
    (row,) = run(database.caller("ada").execute(select(THINGS.c.seen_at)))

    assert (row.seen_at, row.seen_at.tzinfo) == (IN_UTC, datetime.UTC)


def test_values_of_a_statement_are_its_own_or_those_of_a_call(run: Run, things: Database) -> None:
    statement = select(literal("its own").label("own"), literal(None, Text).label("none"), func.count().label("number"))

    (row,) = run(things.caller("ada").execute(statement.select_from(THINGS).where(THINGS.c.id == 1)))

    assert row._asdict() == {"own": "its own", "none": None, "number": 0}


def table(**options: Any) -> Table:
    return Table("others", MetaData(), Column("id", Integer, primary_key=True), Column("rank", Integer, **options))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a default": (lambda: insert(table(default=3)).values(id=1), "others.rank has a default that Python computes"),
    "a default that is called": (lambda: insert(table(default=lambda: 3)).values(id=1), "others.rank has a default"),
    "an onupdate": (lambda: update(table(onupdate=3)).values(id=1), "others.rank has a default that Python computes"),
    "IN": (lambda: select(THINGS.c.id).where(THINGS.c.id.in_([1, 2])), "The parameter id_1 is written into the SQL"),
    "a literal": (
        lambda: select(THINGS.c.id).where(THINGS.c.id == literal(1, literal_execute=True)),
        "is written into the SQL at each execution",
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(("make", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_needs_sqlalchemys_execution_is_refused(make: Callable[[], Any], sentence: str, dialect: Dialect) -> None:
    with pytest.raises(TypeError, match=sentence):
        Statement(make(), dialect)


def test_it_is_refused_at_the_start_where_it_is_known_then(connect: Connect) -> None:
    with pytest.raises(TypeError, match=r"others\.rank has a default"):
        connect("sqlite://", statements=[select(THINGS), insert(table(default=3)).values(id=1)])


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_defaults_of_the_database_are_its_own_business(dialect: Dialect) -> None:
    for options in ({"server_default": "3"}, {"default": func.random()}):
        assert Statement(insert(table(**options)).values(id=1), dialect).values({}) == {"id": 1}


FIRST, LAST = insert(THINGS).values(id=bindparam("first")), insert(THINGS).values(id=bindparam("last"))
ALL = select(THINGS.c.id).order_by(THINGS.c.id)


def test_a_batch_gives_the_rows_of_its_last_statement(run: Run, things: Database) -> None:
    rows = run(things.caller("ada").execute((FIRST, LAST, ALL), {"first": 1, "last": 2}))

    assert [tuple(row) for row in rows] == [(1,), (2,)]


def test_a_batch_that_fails_has_no_effect(run: Run, things: Database) -> None:
    ada = things.caller("ada")

    with pytest.raises(Conflict):
        run(ada.execute((FIRST, LAST, ALL), {"first": 1, "last": 1}))

    assert run(ada.execute(ALL)) == []


@pytest.mark.parametrize("writes", [False, True], ids=["while it reads", "while it writes"])
def test_a_batch_that_is_given_up_has_no_effect(run: Run, connect: Connect, database_url: str, writes: bool) -> None:
    """SQLite rolls everything back by itself where a write is interrupted, and not where a read is."""
    database = connect(database_url, prepare=create_things, deadline=0.5)
    endless = FOREVER if "sqlite" in database_url else "SELECT 1 FROM pg_sleep(60)"
    forever = text(f"INSERT INTO things (id) {endless}" if writes else endless)

    with pytest.raises(DatabaseUnavailable):
        run(database.caller("ada").execute((FIRST, forever), {"first": 1}))
    recover(run, database)

    assert run(database.caller("ada").execute(ALL)) == []


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_constants_of_two_statements_with_one_name_are_refused(dialect: Dialect) -> None:
    of_one = select(THINGS.c.id).where(THINGS.c.id == 1)
    of_another = select(THINGS.c.id).where(THINGS.c.id == 2)

    with pytest.raises(TypeError, match="Two statements of a batch have a constant id_1; make it a bindparam"):
        Batch((of_one, of_another), dialect)


def test_parameters_of_two_types_with_one_name_are_refused() -> None:
    """SQLite stores times as text: one of the two would be converted wrongly."""
    of_one = select(THINGS.c.id).where(THINGS.c.id == bindparam("x"))
    of_another = select(THINGS.c.id).where(bindparam("x", type_=THINGS.c.seen_at.type) > THINGS.c.id)

    with pytest.raises(TypeError, match="Two statements of a batch have a parameter x of two types"):
        Batch((of_one, of_another), database.sqlite.DIALECT)
