"""SQLite: short reads in the event loop, long ones in threads, and one thread that writes."""

import logging
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

from sqlalchemy import URL
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from database.calls import INSTRUCTIONS, Call, Commits, rows_of, run_steps
from database.loops import PerLoop
from database.queue import FairQueue, Statistics
from database.statements import Executables, Rows, Steps, compile_once, is_heavy

logger = logging.getLogger("todo.sql")

DIALECT = SQLiteDialect_pysqlite(paramstyle="named")

# Seconds between two looks at whether the file is still there.
LOOK = 1.0


class Sqlite:
    """Runs statements, each in autocommit and in one of three ways.

    1. A read starts in the event loop, waits for no lock there, and is interrupted after at most twice `INSTRUCTIONS`
       instructions. Reading a task takes 30 instructions, a list of 20 tasks 500.
    2. A read that did not complete there runs again in one of several threads, through the fair queue.
    3. Everything else runs in one thread, because SQLite has one writer at a time: reads go on while somebody else
       holds the file. What waits there is committed together, so that one sync of the disk serves all.

    A database in memory lives and dies with its one connection, and everything goes the third way.
    """

    dialect = DIALECT

    def __init__(self, url: URL, size: int, deadline: float) -> None:
        self.url = url
        arguments, options = DIALECT.create_connect_args(url)
        # SQLite's busy timeout ends before the deadline, because nothing else can end that wait.
        self._patience = deadline * 0.8
        ours = {"timeout": self._patience, "check_same_thread": False, "isolation_level": None}
        self._connect: Callable[[], sqlite3.Connection] = partial(sqlite3.connect, *arguments, **{**options, **ours})
        self._in_memory = url.database in (None, "", ":memory:")
        self._size = size
        self._reads, self._writes = (PerLoop(lambda: FairQueue(size), lambda _: None) for _ in range(2))
        self._start_threads()
        # Idle connections.
        self._readers: list[sqlite3.Connection] = []
        self._writers: list[sqlite3.Connection] = []
        self._commits = Commits()
        self._path = "" if self._in_memory else os.path.abspath(str(url.database))
        # The file behind the open connections, how often another one was found in its place, and when it was looked at.
        self._file: tuple[int, int] | None = None
        self._generation = 0
        self._looked_at = 0.0
        # For an app that is never closed, as with a `TestClient` without a lifespan.
        weakref.finalize(self, _close_all, self._readers, self._writers)

    @property
    def statistics(self) -> list[Statistics]:
        """Reads that are done at once are in none of them."""
        idle = Statistics(idle=len(self._readers) + len(self._writers))
        return [idle, *(queue.statistics() for queues in (self._reads, self._writes) for queue in queues.all())]

    async def execute(self, statement: Executables, values: Mapping[str, Any], person: str, deadline: float) -> Rows:  # noqa: ARG002
        compiled = compile_once(statement, DIALECT)
        logger.debug(compiled.sql)
        self._look_at_file()
        complete = compiled.values(values)
        call = Call(lambda connection: rows_of(compiled, connection, complete))
        if self._in_memory or not compiled.reads:
            return await self._write(call, person)
        rows = None if compiled.in_turn else self._read_at_once(call)
        return await self._read(call, person, is_heavy(values)) if rows is None else rows

    async def run_steps(self, steps: Steps, person: str, patience: float) -> Rows:  # noqa: ARG002
        """In the thread that writes; other writes wait until the last of the steps."""
        self._look_at_file()
        return await self._write(Call(lambda connection: run_steps(steps, connection, DIALECT)), person)

    async def transaction(self, statements: Sequence[str], deadline: float) -> None:  # noqa: ARG002
        """All of them or none."""
        call = Call(lambda connection: _transaction(connection, statements))
        await call.run_in(self._write_thread, self._run, self._writers)

    def _look_at_file(self) -> None:
        """Close the connections when somebody has deleted or replaced the file, which SQLite does not notice."""
        now = time.monotonic()
        if self._file is None or now - self._looked_at < LOOK:
            return
        self._looked_at = now
        if _identity(self._path) != self._file:
            self._file = None
            self._generation += 1
            _close_all(self._readers, self._writers)

    def close(self) -> None:
        self._read_threads.shutdown()
        self._write_thread.shutdown()
        _close_all(self._readers, self._writers)
        self._start_threads()

    def _start_threads(self) -> None:
        self._read_threads = ThreadPoolExecutor(self._size, thread_name_prefix="sqlite-read")
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-write")

    def _read_at_once(self, call: Call) -> Rows | None:
        """Run a read in the event loop. None when it did not complete, for whatever reason."""
        try:
            connection = self._readers.pop()
        except IndexError:
            return None
        # SQLite counts the instructions of a prepared statement across its runs, so the first call may come too early.
        connection.set_progress_handler(count().__next__, INSTRUCTIONS)
        try:
            return call.work(connection)
        except sqlite3.Error:
            return None
        finally:
            connection.set_progress_handler(None, 0)
            self._readers.append(connection)

    async def _read(self, call: Call, person: str, heavy: bool) -> Rows:
        queue = self._reads.get()
        await queue.enter(person, heavy)
        try:
            return await call.run_in(self._read_threads, self._run, self._readers)
        finally:
            queue.leave(person, heavy)

    async def _write(self, call: Call, person: str) -> Rows:
        queue = self._writes.get()
        await queue.enter(person)
        try:
            self._commits.add(call)
            return await call.run_in(self._write_thread, self._commit)
        finally:
            queue.leave(person)

    def _run(self, call: Call, connections: list[sqlite3.Connection]) -> Rows:
        with self._connection(connections) as connection:
            call.run(connection)
        return call.result()

    def _commit(self, call: Call) -> Rows:
        """Commit all waiting calls, unless an earlier job of this thread has already run this one."""
        if not call.ended:
            with self._connection(self._writers) as connection:
                self._commits.commit(connection)
        return call.result()

    @contextmanager
    def _connection(self, connections: list[sqlite3.Connection]) -> Iterator[sqlite3.Connection]:
        """A connection for use in a thread, where it waits for locks; in the event loop it never does."""
        generation = self._generation
        try:
            connection = connections.pop()
        except IndexError:
            connection = self._open()
        connection.execute(f"PRAGMA busy_timeout = {self._patience * 1000:.0f}")
        yield connection
        if generation != self._generation:
            return connection.close()
        connection.execute("PRAGMA busy_timeout = 0")
        connections.append(connection)

    def _open(self) -> sqlite3.Connection:
        """A new connection that acts like PostgreSQL: foreign keys, reads during a write, order by code point."""
        connection = self._connect()
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            _use_wal(connection, self._patience)
            self._file = _identity(self._path)
        except sqlite3.Error:
            connection.close()
            raise
        connection.create_function("lower", 1, lambda text: text and text.lower(), deterministic=True)
        connection.create_function("a_microsecond_after", 1, _a_microsecond_after, deterministic=True)
        connection.create_collation("C", lambda left, right: (left > right) - (left < right))
        return connection


def _transaction(connection: sqlite3.Connection, statements: Sequence[str]) -> Rows:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.rollback()
        raise
    return ()


def _use_wal(connection: sqlite3.Connection, patience: float) -> None:
    """Readers then go on during a write. SQLite refuses at once when two connections change to WAL at the same time."""
    end = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(0.01)


def _a_microsecond_after(moment: str) -> str:
    """Of a timestamp as SQLAlchemy stores it."""
    return (datetime.fromisoformat(moment) + timedelta(microseconds=1)).isoformat(" ", "microseconds")


def _identity(path: str) -> tuple[int, int] | None:
    """Which file it is; None when there is none, as for a database in memory."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _close_all(*lists: list[sqlite3.Connection]) -> None:
    for connections in lists:
        while connections:
            connections.pop().close()
