"""Connections to PostgreSQL in the event loop: psycopg2's asynchronous mode, and a pool of them."""

import asyncio
import re
import select
import socket
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE
from sqlalchemy.exc import DBAPIError

from greenlets import Worker

# A query that was given up may wait for a lock. PostgreSQL, from 14, then looks every two seconds whether its client is
# still there; without that, such queries would take up more and more of the server's connections.
CHECK_CLIENT = "-c client_connection_check_interval=2000"

# Bytes that the empty buffer of a socket always takes; whether more were sent has to be asked.
SENT_AT_ONCE = 8192


def as_sqlalchemy(error: psycopg2.Error, sql: str | None = None) -> BaseException:
    return DBAPIError.instance(sql, None, error, psycopg2.Error, hide_parameters=True)


def _wake(future: asyncio.Future[None]) -> None:
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
    """One asynchronous connection. It is always in autocommit."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._socket: int = connection.fileno()
        self._poller = select.poll()
        self._poller.register(self._socket, select.POLLIN)
        # Whoever waits for the answer under way.
        self._waiter: asyncio.Future[None] | None = None
        self._loop.add_reader(self._socket, self._advance)
        self._watched = True
        self.worker = Worker()

    @classmethod
    async def open(cls, options: Mapping[str, Any]) -> "Connection":
        connection = psycopg2.connect(**options, async_=True)
        try:
            while (state := connection.poll()) != POLL_OK:
                # Asked for anew each time: trying without TLS, libpq may go on with another socket.
                await _ready(connection.fileno(), state)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    async def execute(self, sql: str, values: Mapping[str, Any]) -> Any:
        """Give the cursor with the answer. Interrupted, the connection is not usable any more."""
        cursor = self._connection.cursor()
        cursor.execute(sql, values)
        self._waiter = self._loop.create_future()
        # Or libpq met the end of the connection while it sent, closed the socket, and has yet to say so.
        if len(cursor.query) > SENT_AT_ONCE or self._connection.fileno() != self._socket:
            self._advance()
        try:
            await self._waiter
        except psycopg2.Error:
            self._waiter = None
            raise
        self._waiter = None
        return cursor

    @property
    def closed(self) -> bool:
        return bool(self._connection.closed)

    @property
    def settled(self) -> bool:
        """Whether it is open, and no query is under way or was given up."""
        return not self.closed and self._waiter is None

    @property
    def alive(self) -> bool:
        """Without a round trip: a server has nothing to say to an idle client but good-bye."""
        return self.settled and not self._poller.poll(0)

    def close(self) -> None:
        self._unwatch()
        self._connection.close()

    def _unwatch(self) -> None:
        """Once, and at once when libpq has closed the socket: its number may soon be another's."""
        if self._watched and not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self._watched = False

    def _advance(self) -> None:
        """Send and receive what can be without waiting."""
        if self._waiter is None or self._waiter.done():
            # The server left an idle client.
            self.close()
            return
        try:
            # All that is there: libuv says only once that a connection broke, and then watches it no longer.
            while (state := self._connection.poll()) == POLL_READ and self._poller.poll(0):
                pass
        except psycopg2.Error as error:
            if self.closed:
                self._unwatch()
            self._waiter.set_exception(error)
            return
        if state == POLL_OK:
            self._waiter.set_result(None)
        elif state == POLL_WRITE:
            self._loop.add_writer(self._socket, self._written)

    def _written(self) -> None:
        self._loop.remove_writer(self._socket)
        self._advance()


async def resolved(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with all addresses of the host, which libpq would look up in the event loop; it tries each."""
    host = options.get("host", "")
    if not host or host.startswith("/") or "," in host or "hostaddr" in options:
        return dict(options)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise psycopg2.OperationalError(f"could not find the host {host}: {error}") from error
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    return {**options, "host": ",".join([host] * len(addresses)), "hostaddr": ",".join(addresses)}


class Pool:
    """At most `size` connections in one event loop, the last one used first."""

    def __init__(self, options: Mapping[str, Any], size: int) -> None:
        self._options, self._size = options, size
        self._check_client = True
        self._open = 0
        self._idle: list[Connection] = []
        # Who waits is given a connection, or None when there is room for a new one.
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()

    async def take(self) -> Connection:
        while True:
            if self._idle:
                connection: Connection | None = self._idle.pop()
            elif self._open < self._size:
                return await self._connect_more()
            else:
                connection = await self._wait()
            if connection is not None:
                if connection.alive:
                    return connection
                self._discard(connection)

    def give_back(self, connection: Connection) -> None:
        if not connection.settled:
            self._discard(connection)
            self._pass_on(None)
        elif not self._pass_on(connection):
            self._idle.append(connection)

    def close(self) -> None:
        """The idle ones; those in use are closed by nobody but their users."""
        while self._idle:
            self._discard(self._idle.pop())

    async def _wait(self) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                # Given and cancelled in the same turn of the loop.
                given = waiter.result()
                self._pass_on(None) if given is None else self.give_back(given)
            raise

    def _pass_on(self, connection: Connection | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    async def renew(self, connection: Connection) -> Connection:
        """A new connection in the place of a dead one, which keeps its place when this fails."""
        connection.close()
        return await self._connect()

    async def _connect(self) -> Connection:
        try:
            return await self._log_in(await resolved(self._options))
        except psycopg2.Error as error:
            raise as_sqlalchemy(error) from error

    async def _log_in(self, options: Mapping[str, Any]) -> Connection:
        if self._check_client:
            try:
                return await Connection.open({**options, "options": f"{options.get('options', '')} {CHECK_CLIENT}"})
            except psycopg2.OperationalError as error:
                # PgBouncer's words, and those of an older PostgreSQL.
                if not re.search("startup parameter|client_connection_check_interval", str(error)):
                    raise
                self._check_client = False
        return await Connection.open(options)

    async def _connect_more(self) -> Connection:
        self._open += 1
        try:
            return await self._connect()
        except BaseException:
            self._open -= 1
            self._pass_on(None)
            raise

    def _discard(self, connection: Connection) -> None:
        self._open -= 1
        connection.close()
