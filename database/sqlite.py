"""SQLite in threads: as many as may read at once, and one that writes."""

import asyncio
import logging
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import URL, Executable
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from database.errors import DatabaseUnavailable, of_sqlite
from database.loops import PerLoop
from database.queue import FairQueue
from database.statements import Rows, compile_once, is_heavy

logger = logging.getLogger("todo.sql")

T = TypeVar("T")

DIALECT = SQLiteDialect_pysqlite(paramstyle="named")


class Sqlite:
    """Runs statements in threads, each in autocommit.

    SQLite has one writer at a time. The others wait in a queue of their own, so that reads go on while somebody else
    holds the file. A database in memory lives and dies with its one connection, which serves both.
    """

    dialect = DIALECT

    def __init__(self, url: URL, size: int, deadline: float) -> None:
        arguments, options = DIALECT.create_connect_args(url)
        # SQLite's own wait for a lock ends before the deadline, because an interrupt does not end it.
        ours = {"timeout": deadline * 0.8, "check_same_thread": False, "isolation_level": None}
        self._connect: Callable[[], sqlite3.Connection] = partial(sqlite3.connect, *arguments, **{**options, **ours})
        in_memory = url.database in (None, "", ":memory:")
        self._readers = _Threads(self._open, 1 if in_memory else size)
        self._writer = self._readers if in_memory else _Threads(self._open, 1)

    async def execute(self, statement: Executable, values: Mapping[str, Any], person: str, deadline: float) -> Rows:  # noqa: ARG002
        compiled = compile_once(statement, DIALECT, True)
        logger.debug(compiled.sql)
        complete = compiled.values(values)
        threads = self._readers if compiled.reads else self._writer
        return await threads.run(
            person, lambda connection: compiled.rows(connection.execute(compiled.sql, complete)), is_heavy(values)
        )

    async def transaction(self, statements: Sequence[str], deadline: float) -> None:  # noqa: ARG002
        """All of them or none."""
        await self._writer.run("", lambda connection: _transaction(connection, statements))

    def close(self) -> None:
        for threads in {self._readers, self._writer}:
            threads.close()

    def _open(self) -> sqlite3.Connection:
        """Teach SQLite what PostgreSQL does by itself: foreign keys, readers beside a writer, order by code point."""
        connection = self._connect()
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error:
            connection.close()
            raise
        connection.create_function("lower", 1, lambda text: text and text.lower(), deterministic=True)
        connection.create_collation("C", lambda left, right: (left > right) - (left < right))
        return connection


def _transaction(connection: sqlite3.Connection, statements: Sequence[str]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


class _Threads:
    """Threads and the connections that they share, one call each, for the calls of one `FairQueue`."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], size: int) -> None:
        self._connect, self._size = connect, size
        self._queues = PerLoop(lambda: FairQueue(size), lambda _: None)
        self._executor = self._new_executor()
        self._idle: list[sqlite3.Connection] = []
        # For an app that is never closed, as with a `TestClient` without a lifespan.
        weakref.finalize(self, _close_all, self._idle)

    async def run(self, person: str, work: Callable[[sqlite3.Connection], T], heavy: bool = False) -> T:
        """Cancelled, it interrupts the statement, but not a wait for the lock of the file."""
        queue = self._queues.get()
        await queue.enter(person, heavy)
        call = _Call()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._work, call, work)
        except asyncio.CancelledError:
            call.give_up()
            raise
        finally:
            queue.leave(person)

    def close(self) -> None:
        self._executor.shutdown()
        _close_all(self._idle)
        self._executor = self._new_executor()

    def _new_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._size, thread_name_prefix="sqlite")

    def _work(self, call: "_Call", work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self._take()
            try:
                with call.on(connection):
                    return work(connection)
            finally:
                self._idle.append(connection)
        except sqlite3.Error as error:
            raise of_sqlite(error) from None

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()


def _close_all(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


class _Call:
    """Stands between a caller who may give up and the thread that works for them.

    The lock makes sure that giving up hits the connection only while this call uses it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given_up = False
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def on(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Raises `DatabaseUnavailable` when the caller has given up already."""
        with self._lock:
            if self._given_up:
                raise DatabaseUnavailable("the caller has given up")
            self._connection = connection
        try:
            yield
        finally:
            with self._lock:
                self._connection = None

    def give_up(self) -> None:
        """End the statement, if one is under way."""
        with self._lock:
            self._given_up = True
            if self._connection is not None:
                self._connection.interrupt()
