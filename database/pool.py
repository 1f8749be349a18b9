"""A pool of connections to PostgreSQL in one event loop."""

import asyncio
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from database.connection import Connection
from database.errors import DatabaseUnavailable
from database.queue import FairQueue, Statistics

# A query that was given up may wait for a lock. PostgreSQL, from 14, then looks every two seconds whether its client is
# still there; without that, such queries would take up more and more of the server's connections.
CHECK_CLIENT = "-c client_connection_check_interval=2000"

# Seconds. NAT gateways and firewalls drop idle connections silently, the strictest of the large clouds after 240. TCP
# keepalive starts before that, and no connection is kept idle for that long.
KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
LONGEST_REST = 60.0
# Seconds that one of several addresses of a host may take to log in.
SILENT = 1.0
SWEEP = 15.0


class Place:
    """A place in the queue of a pool, and the connection in it, if there is one already."""

    def __init__(self, pool: "Pool", person: str, heavy: bool) -> None:
        self.pool, self.person, self.heavy = pool, person, heavy
        self.connection: Connection | None = None

    async def connect(self) -> Connection:
        """The connection of this place; another one when it has died. Raises `DatabaseUnavailable`."""
        if self.connection is None:
            self.connection = self.pool.idle()
        if self.connection is None or self.connection.closed:
            self.connection = await self.pool.connect()
        return self.connection

    def give_up(self, connection: Connection) -> None:
        """Close this connection, which does not answer, and the idle ones that the network may have dropped as well."""
        connection.close()
        self.pool.close_forgotten()


class Pool:
    """Connections for the calls of one `FairQueue`, so that there are never more of them than places.

    A call enters when it is given a place, and asks the place for a connection:

    1. One is idle, and the server has not closed it, which is seen without a round trip. Of several it is the one used
       last, so that those beyond need grow old.
    2. None is: a new one is made.

    The call leaves, and its connection is

    1. idle: it may be the next caller's, or is closed after `LONGEST_REST` seconds;
    2. closed, by the server or for its long silence: the next call makes a new one;
    3. busy, because the caller was cancelled, as when a client goes away. It keeps its place until its statement has
       ended, and is idle then: to close it would have PostgreSQL start a new process for each client that leaves;
    4. busy when the deadline of the caller has passed: it is closed.
    """

    def __init__(self, options: Mapping[str, Any], size: int) -> None:
        self._queue = FairQueue(size)
        self._options = {**KEEPALIVES, **options}
        self._check_client = True
        self._idle: list[Connection] = []
        self._left: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def statistics(self) -> Statistics:
        return self._queue.statistics(len(self._idle))

    async def enter(self, person: str, heavy: bool = False) -> Place:
        """Wait for a place in the queue. Raises `DatabaseUnavailable` when it is full."""
        await self._queue.enter(person, heavy)
        return Place(self, person, heavy)

    def leave(self, place: Place, deadline: float) -> None:
        """Give the place back, and its connection. `deadline` is the caller's, by the clock of the event loop."""
        connection = place.connection
        if connection is not None and connection.busy:
            if not connection.loop.is_closed() and connection.loop.time() < deadline:
                task = connection.loop.create_task(self._finish(place, connection, deadline))
                self._left.add(task)
                task.add_done_callback(self._left.discard)
                return
            place.give_up(connection)
        self._take_back(place)

    def idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
            connection.close()
        return None

    async def connect(self) -> Connection:
        """Raises `DatabaseUnavailable`, with the address and the reason."""
        *others, last = await addresses(self._options)
        for options in others:
            with suppress(DatabaseUnavailable, TimeoutError):
                async with asyncio.timeout(SILENT):
                    return await self._log_in(options)
        try:
            return await self._log_in(last)
        except DatabaseUnavailable as error:
            server = f"{last.get('host', 'a local socket')}, port {last.get('port', 5432)}"
            # Some of libpq's messages name it already.
            named = "connection to server" in str(error)
            raise DatabaseUnavailable(
                str(error) if named else f"connection to server at {server} failed: {error}"
            ) from None

    async def _log_in(self, options: Mapping[str, Any]) -> Connection:
        if self._check_client:
            try:
                return await Connection.open({**options, "options": f"{options.get('options', '')} {CHECK_CLIENT}"})
            except DatabaseUnavailable as error:
                # The messages of PgBouncer and of PostgreSQL before 14.
                if not re.search("startup parameter|client_connection_check_interval", str(error)):
                    raise
                self._check_client = False
        return await Connection.open(options)

    def close(self) -> None:
        """Close connections that are idle or whose caller was cancelled; those in use are closed by their callers."""
        for task in self._left:
            task.cancel()
        self._keep(lambda _: False)

    def close_forgotten(self) -> None:
        """Close the idle connections that the network may have forgotten."""
        self._keep(lambda connection: not connection.may_be_forgotten)

    def _keep(self, wanted: Callable[[Connection], bool]) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            if wanted(connection):
                self._idle.append(connection)
            else:
                connection.close()

    def _take_back(self, place: Place) -> None:
        connection = place.connection
        if connection is not None and not connection.closed:
            connection.idle_since = connection.loop.time()
            self._idle.append(connection)
            if self._timer is None:
                self._watch_idle(connection.loop)
        self._queue.leave(place.person, place.heavy)

    async def _finish(self, place: Place, connection: Connection, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await connection.finish()
        except TimeoutError:
            place.give_up(connection)
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            self._take_back(place)

    def _watch_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(SWEEP, self._close_old, loop)

    def _close_old(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        self._keep(lambda connection: now - connection.idle_since < LONGEST_REST)
        if self._idle:
            self._watch_idle(loop)


async def addresses(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The options for each address of the host, which libpq would look up in the event loop."""
    host = options.get("host", "")
    if not host or host.startswith("/") or "," in host or "hostaddr" in options:
        return [dict(options)]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise DatabaseUnavailable(f"could not find the host {host}: {error}") from None
    return [{**options, "hostaddr": address} for address in dict.fromkeys(str(address[0]) for *_, address in found)]
