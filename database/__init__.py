"""How a statement runs: prepared tables, a fair queue, one deadline, and an engine for each kind of database."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from sqlalchemy import URL, Dialect

from database.errors import (
    Conflict,
    DatabaseError,
    DatabaseUnavailable,
    DuplicateId,
    InvalidData,
    NotPrepared,
    ParentMissing,
    TablesMissing,
)
from database.postgres import Postgres
from database.preparation import Preparation
from database.queue import Statistics
from database.sqlite import Sqlite
from database.statements import Executables, Rows, Steps, StepsRun, compile_once

__all__ = [
    "Caller",
    "Conflict",
    "Database",
    "DatabaseError",
    "DatabaseUnavailable",
    "DuplicateId",
    "Engine",
    "Executables",
    "InvalidData",
    "NotPrepared",
    "ParentMissing",
    "Rows",
    "Steps",
    "StepsRun",
]

# Seconds that a request may spend on the database in all, waiting in the queue and connecting included.
DEADLINE = 5.0

# Seconds that a transaction of several round trips may take in all.
LONGEST = 60.0

NOTHING: Mapping[str, Any] = {}


class Engine(Protocol):
    """How statements reach one kind of database."""

    url: URL

    @property
    def dialect(self) -> Dialect:
        """What its SQL is compiled for."""

    @property
    def statistics(self) -> Sequence[Statistics]:
        """Of each of its queues and event loops."""

    async def execute(self, statement: Executables, values: Mapping[str, Any], person: str, deadline: float) -> Rows:
        """The rows of a statement in autocommit. `deadline` is the caller's, by the clock of the event loop."""

    async def run_steps(self, steps: Steps, person: str, patience: float) -> Rows:
        """The rows of a transaction of several round trips. On PostgreSQL each may take `patience` seconds."""

    async def transaction(self, statements: Sequence[str], deadline: float) -> None:
        """All of these statements or none."""

    def close(self) -> None:
        """Close idle connections. A later statement opens new ones."""


class Database:
    """Statements for the callers of an app, on SQLite or PostgreSQL.

    `prepare` makes sure of the tables before the first statement, and again when they have gone. It gets the engine and
    the seconds that each of its statements may take. What it returns is `layout`, None until then.

    `statements` are compiled at once, so that no request waits for it; any other statement is compiled when it is first
    executed. Both raise `TypeError` for a statement that relies on SQLAlchemy's own execution.
    """

    def __init__(
        self,
        url: URL,
        *,
        pool_size: int,
        prepare: Callable[[Engine, float], Awaitable[Any]],
        deadline: float = DEADLINE,
        statements: Iterable[Executables] = (),
    ) -> None:
        sqlite = url.get_backend_name() == "sqlite"
        self.engine: Engine = Sqlite(url, pool_size, deadline) if sqlite else Postgres(url, pool_size)
        self.deadline = deadline
        # Calls without an answer, by the reason: their deadline passed, or their caller left.
        self.given_up = {"deadline": 0, "caller": 0}
        for statement in statements:
            compile_once(statement, self.engine.dialect)
        self._preparation = Preparation(partial(prepare, self.engine), deadline)

    @property
    def layout(self) -> Any:
        return self._preparation.result

    @property
    def statistics(self) -> Statistics:
        """How busy it is now."""
        return Statistics(*map(sum, zip(*self.engine.statistics, strict=True)))

    async def ready(self) -> None:
        """Ask the database whether the tables are there, and make them if not; one round trip when they are.

        Raises `DatabaseUnavailable`, with a sentence that says why.
        """
        await self._preparation.run()

    def caller(self, person: str) -> "Caller":
        return Caller(self, person)

    async def execute(self, statement: Executables, values: Mapping[str, Any], person: str, deadline: float) -> Rows:
        if not self._preparation.done:
            await self.ready()
        try:
            return await self.engine.execute(statement, values, person, deadline)
        except TablesMissing:
            self._preparation.forget()
            raise

    async def run_steps(self, steps: Steps, person: str) -> Rows:
        if not self._preparation.done:
            await self.ready()
        try:
            return await self.engine.run_steps(steps, person, self.deadline)
        except TablesMissing:
            self._preparation.forget()
            raise

    def close(self) -> None:
        """Wait for the threads and close idle connections. A later statement opens new ones."""
        self.engine.close()
        self._preparation.forget()


class Caller:
    """The database for one request: on behalf of one person, with one deadline for all statements together."""

    def __init__(self, database: Database, person: str) -> None:
        self._database, self._person = database, person
        self._left = database.deadline

    @property
    def layout(self) -> Any:
        return self._database.layout

    async def execute(self, statement: Executables, values: Mapping[str, Any] = NOTHING) -> Rows:
        """The rows of a statement, which commits by itself.

        Raises `DatabaseUnavailable` when the database cannot answer, the queue is full, or the deadline has passed; a
        write that was under way then may or may not have happened. Raises `Conflict`, `InvalidData` or another
        `DatabaseError` when the database refuses.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        deadline = started + self._left
        try:
            async with asyncio.timeout_at(deadline):
                return await self._database.execute(statement, values, self._person, deadline)
        except asyncio.CancelledError:
            self._database.given_up["caller"] += 1
            raise
        except TimeoutError:
            self._database.given_up["deadline"] += 1
            raise DatabaseUnavailable(f"no answer within {self._database.deadline:g} seconds") from None
        finally:
            self._left -= clock() - started

    async def run_steps(self, steps: Steps) -> Rows:
        """The rows of a transaction of several round trips, all of whose statements take effect or none does.

        It has `LONGEST` seconds, whatever of the deadline is left. Raises what `execute` does, and what the steps do.
        """
        try:
            async with asyncio.timeout(LONGEST):
                return await self._database.run_steps(steps, self._person)
        except asyncio.CancelledError:
            self._database.given_up["caller"] += 1
            raise
        except TimeoutError:
            self._database.given_up["deadline"] += 1
            raise DatabaseUnavailable("a transaction of several round trips took too long") from None

    async def wait(self, awaited: Awaitable[object]) -> None:
        """Wait for something else within the same deadline, which what follows has less of.

        Raises `DatabaseUnavailable` when it has passed.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            async with asyncio.timeout(self._left):
                await awaited
        except TimeoutError:
            raise DatabaseUnavailable(f"no answer within {self._database.deadline:g} seconds") from None
        finally:
            self._left -= clock() - started
