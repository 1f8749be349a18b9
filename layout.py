"""Creates missing tables, and compares the tables that a database has with what the app needs."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement
from sqlalchemy.sql.selectable import TextualSelect
from sqlmodel import Index, Table, column, text

from database import DatabaseError, DatabaseUnavailable, Engine, NotPrepared
from database.errors import NOT_ALLOWED
from tables import INDEX_BY_TITLE, TASKS, USERS

# The key of the advisory lock that every process takes before it creates tables; any 64-bit number.
CREATE_TABLES_LOCK = 0x7461736B73
# Milliseconds to wait for that lock. Waiting for it blocks nobody else.
CREATE_TABLES_TIMEOUT = 3000
# Milliseconds to wait for a lock on a table. Waiting for one blocks all other writers of the table.
LOCK_TIMEOUT = 500

# Columns that the app needs only where it inserts the users itself.
ONLY_INSERTED = {"users.created_at"}
# Columns of Better Auth's core schema by which its table is recognised, in both spellings and lower case.
# https://www.better-auth.com/docs/concepts/database#core-schema
OF_BETTER_AUTH = {"emailverified", "email_verified"}

# By the type of a column of ours: the types that can store the same values.
TYPES = {
    "postgresql": {
        "Text": r"text|citext|character( varying)?",
        "BigInteger": r"bigint|integer|smallint",
        "Boolean": r"boolean",
        "Date": r"date",
        "UTCDateTime": r"timestamp with time zone",
    },
    # SQLite derives the affinity from parts of the name. https://www.sqlite.org/datatype3.html#determination_of_column_affinity
    "sqlite": {
        "Text": r".*(char|clob|text).*",
        "BigInteger": r".*int.*",
        "Boolean": r"bool.*|.*int.*|numeric.*",
        "Date": r"date|text",
        "UTCDateTime": r"(datetime|timestamp|text).*",
    },
}

HINT = "if the table belongs to another program, give this app a database or a schema of its own"


class Found(NamedTuple):
    """A column of a table; or an index, of which only the name is set.

    `type` is the base type of a domain, or "read-only". `filled`: the database fills it when an INSERT does not.
    """

    table: str
    name: str
    type: str
    required: bool
    filled: bool


class Layout(NamedTuple):
    """What the app has to know about the tables."""

    # If not, another program inserts the users, and the app never does.
    owns_users: bool
    missing_indexes: Sequence[str]

    def remarks(self) -> Iterator[str]:
        """Warnings for the operator, one sentence each."""
        if not self.owns_users:
            yield "Another program keeps its accounts in the table users; people without a row there get a 401."
        if self.missing_indexes:
            yield f"Long lists are slow without {' and '.join(self.missing_indexes)}; `python -m release` builds them."


def _statement(sql: str) -> TextualSelect:
    return text(sql).columns(*(column(name) for name in Found._fields))


# One round trip, for the tables that the search path finds. 28: UPDATE, INSERT and DELETE are possible, as on some
# views. 7: a trigger FOR EACH ROW BEFORE INSERT, which may fill any column.
_POSTGRESQL = _statement(
    "SELECT c.relname, a.attname, CASE WHEN pg_relation_is_updatable(c.oid, true) & 28 = 28 AND a.attgenerated = ''"
    " THEN format_type(COALESCE(NULLIF(t.typbasetype, 0), t.oid), NULL) ELSE 'read-only' END, a.attnotnull,"
    " a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL OR c.relkind = 'v'"
    " OR EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgtype & 7 = 7)"
    " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid"
    " WHERE c.oid IN (to_regclass('users'), to_regclass('tasks')) AND a.attnum > 0"
    " UNION ALL SELECT '', c.relname, '', false, false FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid"
    " WHERE i.indisvalid AND i.indrelid = to_regclass('tasks')"
)
# Only an INTEGER PRIMARY KEY is filled by SQLite. https://www.sqlite.org/lang_createtable.html#rowid
_SQLITE = _statement(
    "SELECT lower(t.name), lower(c.name), CASE t.type WHEN 'table' THEN lower(c.type) ELSE 'read-only' END,"
    """ c."notnull", c.dflt_value IS NOT NULL OR c.pk AND lower(c.type) = 'integer'"""
    " FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE lower(t.name) IN ('users', 'tasks')"
    " UNION ALL SELECT '', name, '', 0, 0 FROM sqlite_master WHERE type = 'index' AND lower(tbl_name) = 'tasks'"
)


async def prepare(engine: Engine, deadline: float) -> Layout:
    """Make sure that the tables are there and fit; one round trip when they are.

    Raises `NotPrepared` with a sentence when they cannot be created or have another layout, and `DatabaseUnavailable`.
    """
    found = await _inspect(engine, deadline)
    if not _has_tables(found) or (_is_sqlite(engine) and _missing_indexes(engine, found)):
        await _create(engine, deadline)
        found = await _inspect(engine, deadline)
    return Layout(_owns_users(found), _missing_indexes(engine, found))


async def _inspect(engine: Engine, deadline: float) -> list[Found]:
    """Raises `NotPrepared` when a table that is there has another layout."""
    statement = _SQLITE if _is_sqlite(engine) else _POSTGRESQL
    found = [Found(*row) for row in await engine.execute(statement, {}, "", deadline)]
    for table in (USERS, TASKS):
        if fault := next(_faults(table, found, engine.dialect), None):
            raise NotPrepared(f"{fault}; {HINT}")
    return found


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
            f"SET LOCAL lock_timeout = {CREATE_TABLES_TIMEOUT}",
            f"SELECT pg_advisory_xact_lock({CREATE_TABLES_LOCK})",
            f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}",
        ]
    try:
        await engine.transaction(statements, deadline)
    except (DatabaseError, DatabaseUnavailable) as error:
        what_to_do = "; grant this role CREATE, or create them as one that has it" if NOT_ALLOWED in str(error) else ""
        raise NotPrepared(f"tables are missing and cannot be created: {error}{what_to_do}") from None


def _faults(table: Table, found: Iterable[Found], dialect: Dialect) -> Iterator[str]:
    """The reasons why our statements would fail on this table; none when the table does not exist."""
    rows = {row.name: row for row in found if row.table == table.name}
    inserts = table is TASKS or _owns_users(found)
    for wanted in table.columns if rows else ():
        name, row = f"{table.name}.{wanted.name}", rows.get(wanted.name)
        if row is None:
            if inserts or name not in ONLY_INSERTED:
                yield f"the table {table.name} has no column {wanted.name}"
        elif not re.fullmatch(TYPES[dialect.name][type(wanted.type).__name__], row.type):
            yield f"the column {name} is {row.type}, where {wanted.type.compile(dialect=dialect).lower()} is needed"
    for row in rows.values():
        if inserts and _refuses_ours(table, row):
            yield f"the column {table.name}.{row.name} has to be filled, which this app does not do"


def _refuses_ours(table: Table, row: Found) -> bool:
    """Whether the database refuses a new row of ours because of this column."""
    wanted = table.columns.get(row.name)
    if wanted is None:
        return row.required and not row.filled
    if table is USERS:
        # NOT NULL on one of our columns is no reason by itself: a token may have the value.
        return False
    return not row.filled if row.name == "id" else row.required and bool(wanted.nullable)


def _owns_users(found: Iterable[Found]) -> bool:
    users = [row for row in found if row.table == "users"]
    return not any(_refuses_ours(USERS, row) or row.name.lower() in OF_BETTER_AUTH for row in users)


async def build_indexes(engine: Engine, names: Sequence[str]) -> None:
    """Build these indexes of a table in use, without keeping writers waiting; it may take minutes.

    An invalid index that an interrupted build left behind is dropped first.
    https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
    """
    concurrently = "INDEX" if _is_sqlite(engine) else "INDEX CONCURRENTLY"
    for index in _indexes(engine):
        if index.name in names:
            create = str(CreateIndex(index, if_not_exists=True).compile(dialect=engine.dialect))
            for statement in (f"DROP INDEX IF EXISTS {index.name}", create):
                await engine.transaction([statement.replace("INDEX", concurrently, 1)], math.inf)
