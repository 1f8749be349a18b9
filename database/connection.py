"""One connection to PostgreSQL in the event loop: psycopg2's asynchronous mode."""

import asyncio
import re
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
    DuplicateId,
    InvalidData,
    Overtaken,
    ParentMissing,
    TablesMissing,
    message_of,
)

# SQLSTATEs, or how they begin. https://www.postgresql.org/docs/current/errcodes-appendix.html
READ_ONLY = "25006"
# Undefined table, undefined column, undefined schema, datatype mismatch, undefined function or operator.
UNDEFINED = {"42P01", "42703", "3F000", "42804", "42883"}
TO_BE_REPEATED = {"40001", "40P01"}
INVALID_DATA, CONSTRAINT, FOREIGN_KEY, UNIQUE = "22", "23", "23503", "23505"
# The columns of our keys, in the detail of a violation. The name of a key differs between partitions and shards.
OF_KEY = re.compile(r"\((user_id, )?id\)=")

# Bytes that an empty socket buffer always accepts. For a longer statement, poll() has to send the rest.
SENT_AT_ONCE = 8192

# Seconds without traffic after which a middlebox may have dropped the connection.
RESTED = 10.0


def _wake(future: "asyncio.Future[None]") -> None:
    # Its task may have been cancelled in the same iteration of the event loop.
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
                # Read again each time: when libpq retries without TLS, it opens another socket.
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
        # Another descriptor: libpq found the connection closed while sending, and reports it at the next poll().
        if len(cursor.query) > SENT_AT_ONCE or self._connection.fileno() != self._socket:
            self._advance()
        await answer
        return cursor

    async def finish(self) -> None:
        """Wait for the answer to a statement whose caller was cancelled."""
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
        """Whether it is open. Makes no round trip: an idle connection that is readable was closed by the server."""
        return not self._connection.closed and not self._poller.poll(0)

    @property
    def may_be_forgotten(self) -> bool:
        """Whether the network may have dropped it without telling either end."""
        return self.loop.time() - self.idle_since > RESTED

    def close(self) -> None:
        self._unwatch()
        self._connection.close()

    def _unwatch(self) -> None:
        """Stop watching the socket. Needed as soon as libpq has closed it: its descriptor may be reused."""
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
            # Read all of it: libuv (uvloop) reports a broken connection only once, and then stops watching it.
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
    return _class_of(error, error.pgcode or "")(message_of(error))


def _class_of(error: psycopg2.Error, code: str) -> type[Exception]:
    if code in TO_BE_REPEATED:
        return Overtaken
    if code in UNDEFINED:
        return TablesMissing
    if code.startswith(INVALID_DATA):
        return InvalidData
    if code == UNIQUE and OF_KEY.search(error.diag.message_detail or ""):
        return DuplicateId
    if code == FOREIGN_KEY:
        return ParentMissing
    if code.startswith(CONSTRAINT):
        return Conflict
    # psycopg2 raises InternalError for a read-only server, and ProgrammingError for a missing permission.
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or code in (READ_ONLY, NOT_ALLOWED):
        return DatabaseUnavailable
    # A connection that ends in the middle of an answer has no code at all.
    return DatabaseError if code or isinstance(error, psycopg2.ProgrammingError) else DatabaseUnavailable
