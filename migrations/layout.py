"""Makes sure of the tables: has missing ones created and older ones changed, and refuses those of another program."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from sqlalchemy.sql.selectable import TextualSelect

import migrations
from database import DatabaseError, DatabaseUnavailable, Engine, NotPrepared, Rows
from database.errors import NOT_ALLOWED, TablesMissing
from database.loops import in_thread
from migrations.comparison import INSPECT, ON_CITUS, RIGHTS, Tables
from migrations.creation import creation

WHERE_NOT_ALLOWED = "; grant this role CREATE, or run `python -m release` as the owner of the tables"
LACKING = "The role in DATABASE_URL lacks rights, for which requests get a 503; as the owner of the tables, run"

Distribution = Literal["none", "partitioned", "Citus"]


class Layout(NamedTuple):
    """What the app has to know about the tables."""

    # If not, another program inserts the users, and the app never does.
    owns_users: bool
    missing_indexes: Sequence[str]
    # The newest revision of `migrations/` that the tables have.
    version: str
    distribution: Distribution
    # Tables on which the role lacks rights.
    forbidden: Sequence[str]

    def remarks(self) -> Iterator[str]:
        """Warnings for the operator, one sentence each."""
        if not self.owns_users:
            yield "Another program keeps its accounts in the table users; people without a row there get a 401."
        if self.missing_indexes:
            yield f"Long lists are slow without {' and '.join(self.missing_indexes)}; `python -m release` builds them."
        if self.forbidden:
            grant = f"GRANT {', '.join(RIGHTS)} ON {', '.join(self.forbidden)} TO that role"
            yield f"{LACKING} {grant}."
        if self.version != migrations.HEAD:
            yield f"The tables are of version {self.version}, which is newer than this code; update it soon."


async def prepare(engine: Engine, seconds: float) -> Layout:
    """Make sure that the tables are there and fit; one round trip when they are.

    Each statement may take so many seconds, but for bringing older tables up to date, which may take minutes. Raises
    `NotPrepared` with a sentence when tables cannot be created or changed, or have another layout, and
    `DatabaseUnavailable`.
    """
    tables = await _inspect(engine, seconds)
    # SQLite's indexes are built at once: nobody runs a release for a small file.
    unfinished = engine.dialect.name == "sqlite" and tables.version and tables.missing_indexes
    if not tables.exist or unfinished:
        await _create(engine, tables, seconds)
        tables = await _inspect(engine, seconds)
    if migrations.is_behind(tables.version):
        await upgrade(engine)
        tables = await _inspect(engine, seconds)
    return layout_of(tables, await distribution_of(engine, tables, seconds))


def layout_of(tables: Tables, distribution: Distribution) -> Layout:
    return Layout(tables.owns_users, tables.missing_indexes, str(tables.version), distribution, tables.forbidden)


async def upgrade(engine: Engine) -> None:
    """Bring older tables up to date, and build missing indexes. Raises `NotPrepared`."""
    try:
        await in_thread(migrations.upgrade, engine.url)
    except DatabaseError as error:
        raise NotPrepared(f"the tables cannot be brought up to date: {error}{_what_to_do(error)}") from None


async def read_tables(engine: Engine, seconds: float) -> Tables:
    """What the database has of the tables, in one or two round trips. Raises `DatabaseUnavailable`."""
    with_version, without = INSPECT[engine.dialect.name]
    try:
        rows = await _run(engine, with_version, seconds)
    except TablesMissing:
        rows = await _run(engine, without, seconds)
    return Tables(rows, engine.dialect)


async def distribution_of(engine: Engine, tables: Tables, seconds: float) -> Distribution:
    """How the tasks are spread, in one round trip at most. Raises `DatabaseUnavailable`."""
    if tables.are_partitioned:
        return "partitioned"
    return "Citus" if tables.on_citus and await _run(engine, ON_CITUS, seconds) else "none"


async def _inspect(engine: Engine, seconds: float) -> Tables:
    """Raises `NotPrepared` when the app cannot use a table that is there."""
    tables = await read_tables(engine, seconds)
    if fault := next(tables.faults(), None):
        raise NotPrepared(fault)
    return tables


async def _run(engine: Engine, statement: TextualSelect, seconds: float) -> Rows:
    deadline = asyncio.get_running_loop().time() + seconds
    try:
        async with asyncio.timeout_at(deadline):
            return await engine.execute(statement, {}, "", deadline)
    except TimeoutError:
        raise DatabaseUnavailable(f"no answer within {seconds:g} seconds") from None


async def _create(engine: Engine, tables: Tables, seconds: float) -> None:
    statements = creation(engine.dialect, tables)
    try:
        await engine.transaction(statements, asyncio.get_running_loop().time() + seconds)
    except (DatabaseError, DatabaseUnavailable) as error:
        raise NotPrepared(f"tables are missing and cannot be created: {error}{_what_to_do(error)}") from None


def _what_to_do(error: Exception) -> str:
    return WHERE_NOT_ALLOWED if str(error).endswith(f"({NOT_ALLOWED})") else ""
