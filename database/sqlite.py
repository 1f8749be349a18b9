"""SQLite: short reads at once, long ones in threads, and one thread that writes."""

import asyncio
import logging
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy import URL, Executable
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from database.errors import of_sqlite
from database.loops import PerLoop
from database.queue import FairQueue
from database.statements import Rows, compile_once, is_heavy

logger = logging.getLogger("todo.sql")

DIALECT = SQLiteDialect_pysqlite(paramstyle="named")

# Steps of SQLite's virtual machine, of some 50 ns. A read of one task takes 30, one of 20 tasks 500.
STEPS = 2000


class Sqlite:
    """Runs statements, each in autocommit and in one of three ways.

    1. A read begins in the event loop. There it waits for no lock, and ends after twice `STEPS` at most.
    2. A read that did not come to its end there runs in a thread, of which there are as many as places in a queue.
    3. Everything else runs in a thread of its own, because SQLite has one writer at a time: reads go on while somebody
       else holds the file. What waits there is committed together, so that one sync of the disk serves all.

    A database in memory lives and dies with its one connection, and everything goes the third way.
    """

    dialect = DIALECT

    def __init__(self, url: URL, size: int, deadline: float) -> None:
        arguments, options = DIALECT.create_connect_args(url)
        # SQLite's own wait for a lock ends before the deadline, because nothing else ends it.
        self._patience = deadline * 0.8
        ours = {"timeout": self._patience, "check_same_thread": False, "isolation_level": None}
        self._connect: Callable[[], sqlite3.Connection] = partial(sqlite3.connect, *arguments, **{**options, **ours})
        self._in_memory = url.database in (None, "", ":memory:")
        self._size = size
        self._reads, self._writes = (PerLoop(lambda: FairQueue(size), lambda _: None) for _ in range(2))
        self._start_threads()
        # Those that nobody uses now.
        self._readers: list[sqlite3.Connection] = []
        self._writers: list[sqlite3.Connection] = []
        self._to_commit: SimpleQueue[_Call] = SimpleQueue()
        # For an app that is never closed, as with a `TestClient` without a lifespan.
        weakref.finalize(self, _close_all, self._readers, self._writers)

    async def execute(self, statement: Executable, values: Mapping[str, Any], person: str, deadline: float) -> Rows:  # noqa: ARG002
        compiled = compile_once(statement, DIALECT)
        logger.debug(compiled.sql)
        complete = compiled.values(values)
        call = _Call(lambda connection: compiled.rows(connection.execute(compiled.sql, complete)))
        if self._in_memory or not compiled.reads:
            return await self._write(call, person)
        rows = self._read_at_once(call)
        return await self._read(call, person, is_heavy(values)) if rows is None else rows

    async def transaction(self, statements: Sequence[str], deadline: float) -> None:  # noqa: ARG002
        """All of them or none."""
        call = _Call(lambda connection: _transaction(connection, statements))
        await call.run_in(self._write_thread, self._run, self._writers)

    def close(self) -> None:
        self._read_threads.shutdown()
        self._write_thread.shutdown()
        _close_all(self._readers, self._writers)
        self._start_threads()

    def _start_threads(self) -> None:
        self._read_threads = ThreadPoolExecutor(self._size, thread_name_prefix="sqlite-read")
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-write")

    def _read_at_once(self, call: "_Call") -> Rows | None:
        """In the event loop. None when it did not come to its end, whatever the reason."""
        if not self._readers:
            return None
        connection = self._readers.pop()
        try:
            # Called after so many steps, since whenever this statement was first prepared: the second time ends it.
            connection.set_progress_handler(count().__next__, STEPS)
            return call.work(connection)
        except sqlite3.Error:
            return None
        finally:
            self._readers.append(connection)

    async def _read(self, call: "_Call", person: str, heavy: bool) -> Rows:
        queue = self._reads.get()
        await queue.enter(person, heavy)
        try:
            return await call.run_in(self._read_threads, self._run, self._readers)
        finally:
            queue.leave(person)

    async def _write(self, call: "_Call", person: str) -> Rows:
        queue = self._writes.get()
        await queue.enter(person)
        try:
            self._to_commit.put(call)
            return await call.run_in(self._write_thread, self._commit)
        finally:
            queue.leave(person)

    def _run(self, call: "_Call", connections: list[sqlite3.Connection]) -> Rows:
        with self._connection(connections) as connection:
            call.run(connection)
        return call.result()

    def _commit(self, call: "_Call") -> Rows:
        """Commit all that waits, this call among them, unless one that was earlier in the thread has done so."""
        if not call.ended:
            with self._connection(self._writers) as connection:
                _commit_together(connection, [each for each in _all_of(self._to_commit) if not each.given_up])
        return call.result()

    @contextmanager
    def _connection(self, connections: list[sqlite3.Connection]) -> Iterator[sqlite3.Connection]:
        """One that waits for locks, which it does in no event loop."""
        connection = connections.pop() if connections else self._open()
        connection.execute(f"PRAGMA busy_timeout = {self._patience * 1000:.0f}")
        try:
            yield connection
        finally:
            connection.execute("PRAGMA busy_timeout = 0")
            connections.append(connection)

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


class _Call:
    """Work on a connection for a caller who may give up, and what became of it: `result`, once it has `ended`."""

    def __init__(self, work: Callable[[sqlite3.Connection], Rows]) -> None:
        self.work = work
        self.given_up = False
        self._rows: Rows | None = None
        self._error: Exception | None = None

    async def run_in(self, threads: ThreadPoolExecutor, function: Callable[..., Rows], *arguments: Any) -> Rows:
        """Cancelled, it ends the statement, but not a wait for the lock of the file."""
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, function, self, *arguments)
        except asyncio.CancelledError:
            self.given_up = True
            raise
        except sqlite3.Error as error:
            raise of_sqlite(error) from None

    def run(self, connection: sqlite3.Connection) -> None:
        connection.set_progress_handler(lambda: self.given_up, STEPS)
        self._error = None
        try:
            self._rows = self.work(connection)
        except Exception as error:
            self._error = error

    def fail(self, error: Exception) -> None:
        self._error = error

    @property
    def ended(self) -> bool:
        return self._rows is not None or self._error is not None

    def result(self) -> Rows:
        if self._error is not None:
            raise self._error
        return self._rows or ()


def _commit_together(connection: sqlite3.Connection, calls: Sequence[_Call]) -> None:
    """In one transaction if there are several, of which each may fail by itself."""
    if len(calls) > 1:
        try:
            if _in_one_transaction(connection, calls):
                return
        except sqlite3.Error as error:
            for call in calls:
                call.fail(error)
            return
    for call in calls:
        if not call.given_up:
            call.run(connection)


def _in_one_transaction(connection: sqlite3.Connection, calls: Sequence[_Call]) -> bool:
    """Whether they are committed. Nothing is when one of them ended it, being given up or having met a full disk."""
    connection.set_progress_handler(None, 0)
    connection.execute("BEGIN IMMEDIATE")
    for call in calls:
        call.run(connection)
        if not connection.in_transaction:
            return False
    connection.execute("COMMIT")
    return True


def _transaction(connection: sqlite3.Connection, statements: Sequence[str]) -> Rows:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    return ()


def _all_of(queue: "SimpleQueue[_Call]") -> Iterator[_Call]:
    with suppress(Empty):
        while True:
            yield queue.get_nowait()


def _close_all(*lists: list[sqlite3.Connection]) -> None:
    for connections in lists:
        while connections:
            connections.pop().close()
