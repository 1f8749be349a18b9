"""The tables as the database has them: created where they are missing, and compared with what the app needs."""

import logging
import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Dialect, Index, Table, column, text
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement
from sqlalchemy.sql.selectable import TextualSelect

from database import DatabaseError, DatabaseUnavailable, Engine, NotPrepared
from tables import INDEX_BY_TITLE, TASKS, USERS

logger = logging.getLogger("todo.tables")

# Any 64-bit number; every process that creates the tables asks for the lock of this one.
CREATE_TABLES_LOCK = 0x7461736B73
# Milliseconds that creating them waits for any lock: others queue up behind whoever waits.
LOCK_TIMEOUT = 2000

# What the app does without where another program, such as Better Auth, keeps its users in this table.
OPTIONAL = {"users.created_at"}
# By these columns of its core schema, as it names them by itself and in snake case.
# https://www.better-auth.com/docs/concepts/database#core-schema
OF_BETTER_AUTH = {"emailVerified", "email_verified"}

# By the type of our column: the types of a database that hold the same.
TYPES = {
    "Text": r"text|citext|character varying|varchar.*",
    "BigInteger": r"bigint|integer|int",
    "Boolean": r"boolean",
    "Date": r"date",
    "UTCDateTime": r"timestamp with time zone|datetime",
}

HINT = "It seems to belong to another program; give this app a database or a schema of its own."


class Found(NamedTuple):
    """A column of a table, or an index, which has no more than a name."""

    table: str
    name: str
    type: str
    required: bool
    filled: bool


class Layout(NamedTuple):
    """What the store has to know of the tables."""

    # Or else only who signs up has a row, and the app never makes one.
    owns_users: bool
    missing_indexes: Sequence[str]


def _statement(sql: str) -> TextualSelect:
    return text(sql).columns(*(column(name) for name in Found._fields))


# One round trip, in the schema that the search path leads to.
_POSTGRESQL = _statement(
    "SELECT c.relname, a.attname, format_type(a.atttypid, NULL), a.attnotnull, a.atthasdef OR a.attidentity <> ''"
    " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
    " WHERE c.oid IN (to_regclass('users'), to_regclass('tasks')) AND a.attnum > 0 AND NOT a.attisdropped"
    " UNION ALL SELECT '', c.relname, '', false, false FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid"
    " WHERE i.indisvalid AND i.indrelid = to_regclass('tasks')"
)
_SQLITE = _statement(
    """SELECT t.name, c.name, c.type, c."notnull", c.dflt_value IS NOT NULL OR c.pk"""
    " FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name IN ('users', 'tasks')"
    " UNION ALL SELECT '', name, '', 0, 0 FROM sqlite_master WHERE type = 'index' AND tbl_name = 'tasks'"
)


async def prepare(engine: Engine, deadline: float) -> Layout:
    """Make sure of the tables; one round trip when they are there.

    Raises `NotPrepared` with a sentence when they cannot be created or have another layout, and `DatabaseUnavailable`.
    """
    found = await _inspect(engine, deadline)
    if not _has_tables(found) or (_is_sqlite(engine) and _missing_indexes(engine, found)):
        await _create(engine, deadline)
        found = await _inspect(engine, deadline)
    for table in (USERS, TASKS):
        _check(table, {row.name: row for row in found if row.table == table.name}, engine.dialect)
    missing = _missing_indexes(engine, found)
    if missing:
        logger.warning("Long lists are slow without %s; `python -m release` builds them.", " and ".join(missing))
    return Layout(_owns_users(found), missing)


async def _inspect(engine: Engine, deadline: float) -> list[Found]:
    statement = _SQLITE if _is_sqlite(engine) else _POSTGRESQL
    return [Found(*row) for row in await engine.execute(statement, {}, "", deadline)]


def _is_sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"


def _has_tables(found: Iterable[Found]) -> bool:
    return {row.table for row in found} >= {"users", "tasks"}


def _indexes(engine: Engine) -> list[Index]:
    wanted = TASKS.indexes - ({INDEX_BY_TITLE} if _is_sqlite(engine) else set())
    return sorted(wanted, key=lambda index: str(index.name))


def _missing_indexes(engine: Engine, found: Iterable[Found]) -> list[str]:
    names = {row.name for row in found if not row.table}
    return [str(index.name) for index in _indexes(engine) if index.name not in names]


async def _create(engine: Engine, deadline: float) -> None:
    """Create what is missing, in one transaction, safely when several processes start at once.

    The lock is one of the transaction, not of the session, so that it works through PgBouncer too.
    """
    ddl: list[ExecutableDDLElement] = [CreateTable(table, if_not_exists=True) for table in (USERS, TASKS)]
    ddl += [CreateIndex(index, if_not_exists=True) for index in _indexes(engine)]
    statements = [str(element.compile(dialect=engine.dialect)) for element in ddl]
    if not _is_sqlite(engine):
        statements[:0] = [
            f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}",
            f"SELECT pg_advisory_xact_lock({CREATE_TABLES_LOCK})",
        ]
    try:
        await engine.transaction(statements, deadline)
    except (DatabaseError, DatabaseUnavailable) as error:
        raise NotPrepared(f"the tables are missing and cannot be created: {error}") from None


def _check(table: Table, found: dict[str, Found], dialect: Dialect) -> None:
    for wanted in table.columns:
        name = f"{table.name}.{wanted.name}"
        if wanted.name not in found:
            if name not in OPTIONAL:
                raise NotPrepared(f"the table {table.name} has no column {wanted.name}. {HINT}")
        elif not re.fullmatch(TYPES[type(wanted.type).__name__], found[wanted.name].type.lower()):
            expected = wanted.type.compile(dialect=dialect).lower()
            raise NotPrepared(f"the column {name} is {found[wanted.name].type}, where {expected} is needed. {HINT}")
    if table is TASKS and (unfilled := _unfilled(TASKS, found.values())):
        raise NotPrepared(f"the column tasks.{unfilled[0]} has to be filled, which this app does not do. {HINT}")


def _unfilled(table: Table, found: Iterable[Found]) -> list[str]:
    """The columns without which the database refuses a new row of ours."""
    ours = {column.name for column in table.columns} - ({"id"} if table is TASKS else set())
    return [row.name for row in found if row.required and not row.filled and row.name not in ours]


def _owns_users(found: Iterable[Found]) -> bool:
    users = [row for row in found if row.table == "users"]
    return not _unfilled(USERS, users) and not OF_BETTER_AUTH & {row.name for row in users}


async def build_indexes(engine: Engine, names: Sequence[str]) -> None:
    """Build these indexes of a table in use, without keeping writers waiting; it may take minutes.

    One that a broken attempt left behind is dropped first.
    https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
    """
    for index in _indexes(engine):
        if index.name in names:
            create = str(CreateIndex(index).compile(dialect=engine.dialect))
            for statement in (f"DROP INDEX IF EXISTS {index.name}", create):
                await engine.transaction([statement.replace("INDEX", "INDEX CONCURRENTLY", 1)], math.inf)
