"""Calls to SQLite in threads: work whose caller may stop waiting, and writes that are committed together."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy import Dialect

from database.errors import Conflict, DatabaseError, DatabaseUnavailable, ParentMissing, TablesMissing
from database.statements import Batch, Rows, Statement, Steps, compile_once

logger = logging.getLogger("todo.sql")

# Instructions of SQLite's virtual machine, about 50 ns each, between two calls of the progress handler.
INSTRUCTIONS = 2000

# Seconds that a commit waits for the next write while it has fewer than the previous commit had. Syncing the disk takes
# longer; without this wait, the callers would split into two groups that commit in alternation.
GATHERING = 0.0005


class Call:
    """Work on a connection, and its outcome: call `result` once it has `ended`."""

    def __init__(self, work: Callable[[sqlite3.Connection], Rows]) -> None:
        self.work = work
        self.given_up = False
        self.error: Exception | None = None
        self._rows: Rows | None = None

    async def run_in(self, threads: ThreadPoolExecutor, function: Callable[..., Rows], *arguments: Any) -> Rows:
        """Run the function on this call in a thread. Cancelling interrupts the statement, but no wait for a lock."""
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, function, self, *arguments)
        except asyncio.CancelledError:
            self.given_up = True
            raise
        except sqlite3.Error as error:
            raise _in_our_terms(error) from None

    def run(self, connection: sqlite3.Connection) -> None:
        """Do the work, unless its caller has stopped waiting."""
        self.error = None
        connection.set_progress_handler(lambda: self.given_up, INSTRUCTIONS)
        try:
            self._rows = () if self.given_up else self.work(connection)
        except Exception as error:
            self.error = error
        finally:
            connection.set_progress_handler(None, 0)

    @property
    def ended(self) -> bool:
        return self._rows is not None or self.error is not None

    def result(self) -> Rows:
        if self.error is not None:
            raise self.error
        return () if self._rows is None else self._rows


class Commits:
    """Calls that wait for the one thread that writes, which commits all of them together."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Call] = SimpleQueue()
        self._last = 0

    def add(self, call: Call) -> None:
        self._waiting.put(call)

    def commit(self, connection: sqlite3.Connection) -> None:
        """Run all calls that wait in one transaction, in which each may fail by itself."""
        calls: list[Call] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for call in self._arriving():
                calls.append(call)
                call.run(connection)
                if not connection.in_transaction:
                    # SQLite rolled all of them back, because this call was interrupted or the disk is full.
                    return _commit_each(connection, calls)
            connection.execute("COMMIT")
        except sqlite3.IntegrityError:
            # A deferred foreign key is checked by COMMIT. Each call by itself, so that only its own caller is refused.
            connection.rollback()
            _commit_each(connection, calls)
        except sqlite3.Error as error:
            connection.rollback()
            for call in (*calls, *self._arriving()):
                call.error = error

    def _arriving(self) -> Iterator[Call]:
        count = 0
        try:
            while True:
                yield self._waiting.get(count < self._last, GATHERING)
                count += 1
        except Empty:
            self._last = count


def _commit_each(connection: sqlite3.Connection, calls: Sequence[Call]) -> None:
    for call in calls:
        call.run(connection)


def rows_of(compiled: Statement | Batch, connection: sqlite3.Connection, values: Mapping[str, Any]) -> Rows:
    """Execute the statement, or all statements of a batch; when one of those fails, none has an effect."""
    if isinstance(compiled, Statement):
        return compiled.rows(connection.execute(compiled.sql, values))
    with _all_or_none(connection, "batch"):
        for each in compiled.statements:
            rows = rows_of(each, connection, values)
    return rows


def run_steps(steps: Steps, connection: sqlite3.Connection, dialect: Dialect) -> Rows:
    """Execute the statements of these steps; when one of them fails, or the steps themselves do, none has an effect."""
    with _all_or_none(connection, "steps"), closing(steps()) as running:
        try:
            statement, values = next(running)
            while True:
                compiled = compile_once(statement, dialect)
                logger.debug(compiled.sql)
                statement, values = running.send(rows_of(compiled, connection, compiled.values(values)))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


@contextmanager
def _all_or_none(connection: sqlite3.Connection, name: str) -> Iterator[None]:
    connection.execute(f"SAVEPOINT {name}")
    try:
        yield
        connection.execute(f"RELEASE {name}")
    except BaseException:
        # SQLite may have rolled back everything by itself.
        if connection.in_transaction:
            connection.execute(f"ROLLBACK TO {name}")
            connection.execute(f"RELEASE {name}")
        raise


def _in_our_terms(error: sqlite3.Error) -> Exception:
    """As an exception of `database.errors`. SQLite's messages name tables and columns, never values."""
    message = str(error)
    if isinstance(error, sqlite3.IntegrityError):
        is_orphan = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
        return (ParentMissing if is_orphan else Conflict)(message)
    # Python's sqlite3 raises OperationalError for invalid SQL as well.
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        gone = message.startswith(("no such table", "no such column")) or "has no column" in message
        return TablesMissing(message) if gone else DatabaseError(message)
    broken = getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
    return (DatabaseUnavailable if broken or isinstance(error, sqlite3.OperationalError) else DatabaseError)(message)
