"""One connection to PostgreSQL in the event loop: psycopg2's asynchronous mode."""

import asyncio
import select
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE

from database.errors import (
    NOT_ALLOWED,
    Conflict,
    DatabaseError,
    DatabaseUnavailable,
    InvalidData,
    Overtaken,
    TablesMissing,
)

# SQLSTATEs, or how they begin. https://www.postgresql.org/docs/current/errcodes-appendix.html
READ_ONLY = "25006"
# A table, a column or a schema that is not there, and a column of a type with which a statement makes no sense.
UNDEFINED = {"42P01", "42703", "3F000", "42804", "42883"}
TO_BE_REPEATED = {"40001", "40P01"}
INVALID_DATA, CONSTRAINT = "22", "23"

# Bytes that the empty buffer of a socket always takes; whether more were sent has to be asked.
SENT_AT_ONCE = 8192

# Seconds. After so long without a word, a middlebox on the way may have forgotten the connection.
RESTED = 10.0


def _wake(future: "asyncio.Future[None]") -> None:
    # Its task may have been cancelled in the same turn of the loop.
    with suppress(asyncio.InvalidStateError):
        future.set_result(None)


async def _ready(descriptor: int, state: int) -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    watch, unwatch = (
        (loop.add_reader, loop.remove_reader) if state == POLL_READ else (loop.add_writer, loop.remove_writer)
    )
    watch(descriptor, _wake, future)
    try:
        await future
    finally:
        unwatch(descriptor)


class Connection:
    """Always in autocommit, and in one of three states.

    1. Idle: no statement is under way. When its socket becomes readable, the server has closed it.
    2. Busy: a statement is under way, and somebody waits for its answer, or nobody does any more.
    3. Closed.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.loop = asyncio.get_running_loop()
        self._socket: int = connection.fileno()
        self._poller = select.poll()
        self._poller.register(self._socket, select.POLLIN)
        # Of the statement under way.
        self._answer: asyncio.Future[None] | None = None
        self.loop.add_reader(self._socket, self._advance)
        self._watched = True
        self.idle_since = self.loop.time()

    @classmethod
    async def open(cls, options: Mapping[str, Any]) -> "Connection":
        """Raises `DatabaseUnavailable`."""
        connection = None
        try:
            connection = psycopg2.connect(**options, async_=True)
            while (state := connection.poll()) != POLL_OK:
                # Asked for anew each time: trying without TLS, libpq may go on with another socket.
                await _ready(connection.fileno(), state)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, psycopg2.Error):
                raise _in_our_terms(error) from None
            raise
        return cls(connection)

    async def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> Any:
        """The cursor with the answer.

        Cancelled, it leaves the statement under way; `finish` waits for its end. Raises
        `DatabaseUnavailable` or `DatabaseError`.
        """
        try:
            cursor = self._connection.cursor()
            cursor.execute(sql, values)
        except psycopg2.Error as error:
            raise _in_our_terms(error) from None
        answer = self._answer = self.loop.create_future()
        # Or libpq met the end of the connection while it sent, closed the socket, and has yet to say so.
        if len(cursor.query) > SENT_AT_ONCE or self._connection.fileno() != self._socket:
            self._advance()
        await answer
        return cursor

    async def finish(self) -> None:
        """Wait for the answer that nobody waits for any more."""
        if self.busy:
            self._answer = self.loop.create_future()
            with suppress(Exception):
                await self._answer

    @property
    def closed(self) -> bool:
        return bool(self._connection.closed)

    @property
    def busy(self) -> bool:
        return self._answer is not None and not self._connection.closed

    @property
    def alive(self) -> bool:
        """Without a round trip: an idle connection that has become readable was closed by the server."""
        return not self._connection.closed and not self._poller.poll(0)

    @property
    def may_be_forgotten(self) -> bool:
        """By the network, which tells neither end."""
        return self.loop.time() - self.idle_since > RESTED

    def close(self) -> None:
        self._unwatch()
        self._connection.close()

    def _unwatch(self) -> None:
        """Once, and at once when libpq has closed the socket: its number may soon be another's."""
        if self._watched and not self.loop.is_closed():
            self.loop.remove_reader(self._socket)
            self.loop.remove_writer(self._socket)
        self._watched = False

    def _advance(self) -> None:
        """Send and receive what can be without waiting."""
        if self._answer is None:
            self.close()
            return
        try:
            # All that is there: libuv says only once that a connection broke, and then watches it no longer.
            while (state := self._connection.poll()) == POLL_READ and self._poller.poll(0):
                pass
        except psycopg2.Error as error:
            if self.closed:
                self._unwatch()
            self._end(_in_our_terms(error))
            return
        if state == POLL_OK:
            self._end(None)
        elif state == POLL_WRITE:
            self.loop.add_writer(self._socket, self._written)

    def _end(self, error: Exception | None) -> None:
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            # Whoever waited for it was cancelled.
            return
        if error:
            answer.set_exception(error)
        else:
            answer.set_result(None)

    def _written(self) -> None:
        self.loop.remove_writer(self._socket)
        self._advance()


def _in_our_terms(error: psycopg2.Error) -> Exception:
    """SQLSTATE and primary message. PostgreSQL's DETAIL, which shows the row, stays out."""
    code = error.pgcode or ""
    primary = error.diag.message_primary or str(error).strip().partition("\n")[0]
    return _class_of(error, code)(f"{primary} ({code})" if code else primary)


def _class_of(error: psycopg2.Error, code: str) -> type[Exception]:
    if code in TO_BE_REPEATED:
        return Overtaken
    if code in UNDEFINED:
        return TablesMissing
    if code.startswith(INVALID_DATA):
        return InvalidData
    if code.startswith(CONSTRAINT):
        return Conflict
    # psycopg2 calls a read-only server internal, and a missing permission a mistake of programming.
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or code in (READ_ONLY, NOT_ALLOWED):
        return DatabaseUnavailable
    # A connection that ends in the middle of an answer has no code at all.
    return DatabaseError if code or isinstance(error, psycopg2.ProgrammingError) else DatabaseUnavailable
