"""A blocking driver in threads: how SQLite runs, and how PostgreSQL gets its tables at start."""

import asyncio
import os
import socket
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg2
from sqlalchemy import Connection, Engine, event
from sqlmodel import Session

P = ParamSpec("P")
T = TypeVar("T")


class ThreadedEngine:
    """Runs store functions in as many threads as the engine has pooled connections."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self.engine = engine
        self._threads = threads
        self._executor = self._create_executor()
        self._current = _Current()
        # SQLAlchemy has questions to a server before it hands a new connection out, and may wait there too.
        event.listen(engine, "do_connect", self._connect)
        # For whoever never closes it, as a `TestClient` without a lifespan.
        weakref.finalize(self, engine.dispose)

    async def run(self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Cancelled, it frees the thread at once, even if the server is frozen."""
        call = _Call()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, lambda: self._work(call, function, *args, **kwargs))
        except asyncio.CancelledError:
            call.expire()
            raise

    def close(self) -> None:
        self._executor.shutdown()
        self.engine.dispose()
        self._executor = self._create_executor()

    def _connect(self, dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        connection = dialect.connect(*arguments, **options)
        try:
            self._current.call.hold(connection)
        except CancelledError:
            connection.close()
            raise
        return connection

    def _create_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="database")

    def _work(
        self, call: "_Call", function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._current.call = call
        with self.engine.connect() as connection, call.holding(connection), Session(connection) as session:
            return function(session, *args, **kwargs)


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
        self.hold(connection.connection.dbapi_connection)
        try:
            yield
        finally:
            with self._lock:
                self._connection = None

    def hold(self, connection: Any) -> None:
        """Raises `CancelledError` when the caller has given up."""
        with self._lock:
            if self._expired:
                raise CancelledError("the caller has given up")
            self._connection = connection

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
    # The connection may be closing by itself at this moment, or be closed.
    with suppress(OSError, psycopg2.InterfaceError), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


class _Current(threading.local):
    """The call that a thread works for."""

    def __init__(self) -> None:
        self.call = _Call()
