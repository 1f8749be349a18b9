"""How a query runs: the engine, its threads and pool, the deadline, and connections that died idle."""

import asyncio
import math
import os
import select
import socket
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.pool import QueuePool
from sqlmodel import Session

P = ParamSpec("P")
T = TypeVar("T")

# Seconds from asking for a query to its answer, waiting in the queue and connecting included.
DEADLINE = 5.0

# Calls that may wait for each thread before the next one is turned away.
QUEUE_PER_THREAD = 128


class DatabaseUnavailable(Exception):
    """The database is unreachable or hung, or too many calls wait for it. The message is for the log."""


class Database:
    """Runs plain synchronous functions of a `Session` for asynchronous callers, each statement in autocommit.

    There are as many threads as pooled connections, so that all waiting happens in one bounded queue. `prepare` runs
    once, before the first query.
    """

    def __init__(
        self, url: URL, *, pool_size: int, prepare: Callable[[Connection], None], deadline: float = DEADLINE
    ) -> None:
        # An in-memory SQLite database lives and dies with its only connection.
        self.threads = 1 if url.database in (None, "", ":memory:") else pool_size
        self.deadline = deadline
        self.engine = _create_engine(url, self.threads, deadline)
        # For whoever never closes it, as a `TestClient` without a lifespan.
        weakref.finalize(self, self.engine.dispose)
        self._prepare = prepare
        self._prepared = False
        self._preparing = threading.Lock()
        self._places = threading.BoundedSemaphore(self.threads * (1 + QUEUE_PER_THREAD))
        self._executor = self._create_executor()

    async def run(self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function(session, …)` in a thread and answer its result.

        Raises `DatabaseUnavailable` at once when the queue is full, and when the deadline has passed. A write that
        was under way then may or may not have happened.
        """
        if not self._places.acquire(blocking=False):
            raise DatabaseUnavailable("too many calls wait for the database")
        call = _Call()
        try:
            async with asyncio.timeout(self.deadline):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._executor, lambda: self._work(call, function, *args, **kwargs))
        except TimeoutError:
            call.expire()
            raise DatabaseUnavailable(f"no answer within {self.deadline:g} seconds") from None
        finally:
            self._places.release()

    def close(self) -> None:
        """Wait for the calls under way and close the idle connections. A later `run` starts afresh."""
        self._executor.shutdown()
        self.engine.dispose()
        self._executor = self._create_executor()

    def _create_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix="database")

    def _work(
        self, call: "_Call", function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            with self.engine.connect() as connection, call.holding(connection):
                self._prepare_once(connection)
                with Session(connection) as session:
                    return function(session, *args, **kwargs)
        except DBAPIError as error:
            if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
                raise DatabaseUnavailable(_reason(error)) from error
            raise

    def _prepare_once(self, connection: Connection) -> None:
        if self._prepared:
            return
        with self._preparing:
            if not self._prepared:
                self._prepare(connection)
                self._prepared = True


class _Call:
    """Stands between a caller who may give up and the thread that works for them.

    The lock makes sure that giving up hits the connection only while this call holds it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expired = False
        self._connection: Any = None

    @contextmanager
    def holding(self, connection: Connection) -> Iterator[None]:
        with self._lock:
            if self._expired:
                raise DatabaseUnavailable("the caller has given up")
            self._connection = connection.connection.dbapi_connection
        try:
            yield
        finally:
            with self._lock:
                self._connection = None

    def expire(self) -> None:
        """Free the thread, if it is at a query."""
        with self._lock:
            self._expired = True
            if self._connection is not None:
                _interrupt(self._connection)


def _interrupt(connection: Any) -> None:
    """Make the query on this connection fail at once, in the thread that waits for it.

    A cancel request would need a server that still reads; a socket that is shut down needs nobody.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.interrupt()
        return
    # The connection may be closing by itself at this moment.
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


def _reason(error: DBAPIError) -> str:
    """The first line of what the driver says: it names hosts, never passwords or parameters."""
    return str(error.orig).partition("\n")[0]


def _create_engine(url: URL, size: int, deadline: float) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        # What people write in their tasks stays out of logs.
        hide_parameters=True,
        **(_sqlite_options(deadline) if sqlite else _postgresql_options(deadline)),
    )
    if sqlite:
        event.listen(engine, "connect", _set_up_sqlite)
    else:
        event.listen(engine, "checkout", _refuse_dead)
    return engine


def _postgresql_options(deadline: float) -> dict[str, Any]:
    # Without hstore, which nobody here uses, connecting takes a round trip less.
    return {"use_native_hstore": False, "connect_args": {"connect_timeout": math.ceil(deadline)}}


def _sqlite_options(deadline: float) -> dict[str, Any]:
    # SQLite's own wait for a lock ends before the deadline, because an interrupt does not end it.
    return {"connect_args": {"timeout": deadline * 0.8, "check_same_thread": False}}


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Teach SQLite what PostgreSQL does by itself: foreign keys, readers beside a writer, order by code point."""
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.create_function("lower", 1, lambda text: text and text.lower(), deterministic=True)
    connection.create_collation("C", lambda left, right: (left > right) - (left < right))


def _refuse_dead(connection: Any, _record: object, _proxy: object) -> None:
    """Replace a connection that died while idle, without a round trip.

    A server has nothing to say to an idle client, so a socket that can be read holds the news of its end.
    """
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    if poller.poll(0):
        raise DisconnectionError("the server closed the connection while it was idle")
