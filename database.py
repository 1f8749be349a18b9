"""How a query runs: which engine, the one deadline, the bounded queue, and tables before the first query."""

import asyncio
import logging
import math
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import NullPool, QueuePool
from sqlmodel import Session

from postgres import AsyncEngine
from threads import ThreadedEngine

logger = logging.getLogger("todo.sql")

P = ParamSpec("P")
T = TypeVar("T")

# Seconds from asking for a query to its answer, waiting in the queue and connecting included.
DEADLINE = 5.0

# Calls that may wait for each connection before the next one is turned away.
QUEUE_PER_CONNECTION = 128


# https://www.postgresql.org/docs/current/errcodes-appendix.html
READ_ONLY = "25006"


class DatabaseUnavailable(Exception):
    """The database is unreachable or hung, or too many calls wait for it. The message is for the log."""


class Database:
    """Runs plain synchronous functions of a `Session` for asynchronous callers, each statement in autocommit.

    All waiting happens in one bounded queue before `pool_size` connections. `prepare` runs once, before the first
    query. PostgreSQL is spoken to from the event loop; threads serve SQLite, and create the tables of both.
    """

    def __init__(
        self, url: URL, *, pool_size: int, prepare: Callable[[Connection], None], deadline: float = DEADLINE
    ) -> None:
        # An in-memory SQLite database lives and dies with its only connection.
        self.size = 1 if url.database in (None, "", ":memory:") else pool_size
        self.deadline = deadline
        self._prepare = prepare
        self._prepared = False
        self._preparing = threading.Lock()
        self._places = threading.BoundedSemaphore(self.size * (1 + QUEUE_PER_CONNECTION))
        if url.get_backend_name() == "sqlite":
            self.threads = _sqlite(url, self.size, deadline)
            self._engine: AsyncEngine | ThreadedEngine = self.threads
        else:
            self.threads = _postgresql(url, deadline)
            self._engine = AsyncEngine(url, self.size)

    async def run(self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function(session, …)` and answer its result.

        Raises `DatabaseUnavailable` at once when the queue is full, and when the deadline has passed. A write that
        was under way then may or may not have happened.
        """
        if not self._places.acquire(blocking=False):
            raise DatabaseUnavailable("too many calls wait for the database")
        try:
            async with asyncio.timeout(self.deadline):
                if not self._prepared:
                    await self.threads.run(self._prepare_once)
                return await self._engine.run(function, *args, **kwargs)
        except TimeoutError:
            raise DatabaseUnavailable(f"no answer within {self.deadline:g} seconds") from None
        except DBAPIError as error:
            if _is_no_fault_of_ours(error):
                raise DatabaseUnavailable(_reason(error)) from error
            raise
        finally:
            self._places.release()

    def close(self) -> None:
        """Wait for the threads and close the idle connections. A later `run` starts afresh."""
        # One and the same for SQLite.
        for engine in {self._engine, self.threads}:
            engine.close()

    def _prepare_once(self, session: Session) -> None:
        with self._preparing:
            if not self._prepared:
                self._prepare(session.connection())
                self._prepared = True


def _is_no_fault_of_ours(error: DBAPIError) -> bool:
    # SQLite calls everything operational, a statement on a table that is not there too.
    if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return False
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return True
    # While it fails over, PostgreSQL may only be read; psycopg2 calls that an internal error.
    return getattr(error.orig, "pgcode", None) == READ_ONLY


def _reason(error: DBAPIError) -> str:
    """The first line of what the driver says: it names hosts, never passwords or parameters."""
    return str(error.orig).partition("\n")[0]


def _postgresql(url: URL, deadline: float) -> ThreadedEngine:
    """The engine that creates the tables, of one connection."""
    options = {"connect_timeout": math.ceil(deadline)}
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        # Needed once, at start.
        poolclass=NullPool,
        hide_parameters=True,
        # Without hstore, which nobody here uses, connecting takes a round trip less.
        use_native_hstore=False,
        connect_args=options,
    )
    return ThreadedEngine(engine, 1)


def _sqlite(url: URL, size: int, deadline: float) -> ThreadedEngine:
    # SQLite's own wait for a lock ends before the deadline, because an interrupt does not end it.
    options = {"timeout": deadline * 0.8, "check_same_thread": False}
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        # What people write in their tasks stays out of logs.
        hide_parameters=True,
        connect_args=options,
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "before_cursor_execute", _log_statement)
    return ThreadedEngine(engine, size)


def _log_statement(_connection: Connection, _cursor: Any, sql: str, *_: Any) -> None:
    """Without its values, as `postgres.py` does."""
    logger.debug(sql)


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    """Teach SQLite what PostgreSQL does by itself: foreign keys, readers beside a writer, order by code point."""
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.create_function("lower", 1, lambda text: text and text.lower(), deterministic=True)
    connection.create_collation("C", lambda left, right: (left > right) - (left < right))
