"""A network that tests can slow down, freeze and cut, between the app and PostgreSQL."""

import asyncio
import secrets
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Self

HOST = "127.0.0.1"
CHUNK = 65_536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: closing sends RST instead of FIN


def free_port() -> int:
    """A port that nobody listens on, below the ephemeral ones of Linux and macOS.

    While the server of an ephemeral port restarts, any outgoing connection may take the port, and a
    client that retries it sooner or later connects to itself.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


class Proxy:
    """Forwards TCP connections to the port `upstream` of this machine, from a thread of its own.

    A round trip is counted when the answer to what a client sent begins to arrive, before it is passed on:
    a simple query is one, a connection's start-up two or more (libpq asks for TLS first), a farewell that
    nobody answers none. `delay`, in seconds, is added to each. The TCP handshake is neither counted nor
    delayed, and the kernel completes it even while the proxy is frozen.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = free_port()
        self.delay = 0.0
        self.round_trips = 0
        self._links: set[asyncio.Task[None]] = set()
        self._generation = 0
        self._flowing = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.thaw()
        self.accept()

    def url(self, database: str) -> str:
        return f"postgresql://postgres@{HOST}:{self.port}/{database}"

    def reset(self) -> None:
        """Count from zero. Call it while nothing is under way."""
        self.round_trips = 0

    @property
    def connections(self) -> int:
        """Open ones. Frozen ones count until they are thawed, though either end may have left."""
        return len(self._links)

    def freeze(self) -> None:
        """Drop everything silently, farewells included; `thaw` delivers it late."""
        self._do(self._flowing.clear)

    def thaw(self) -> None:
        self._do(self._flowing.set)

    def forget(self) -> None:
        """Drop everything of the connections that are open now, for good, and tell neither end; new ones are served."""
        self._generation += 1

    def refuse(self) -> None:
        """Refuse new connections; those that are open live on."""
        if self._listener:
            self._do(self._listener.close)
            self._listener = None

    def accept(self) -> None:
        """Undo `refuse`."""
        if not self._listener:
            listen = asyncio.start_server(self._link, HOST, self.port, backlog=512)
            self._listener = asyncio.run_coroutine_threadsafe(listen, self._loop).result()

    def cut(self) -> None:
        """Reset every open connection, at both ends, before returning."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def close(self) -> None:
        """For good. May be repeated."""
        if not self._loop.is_closed():
            self.refuse()
            self.cut()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, action: Callable[[], object]) -> None:
        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self._loop).result()

    async def _cut(self) -> None:
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the loop's next turn

    async def _link(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link
        self._links.add(link)
        ends = [client]
        try:
            answers, server = await asyncio.open_connection(HOST, self.upstream)
            ends.append(server)
            await self._relay(requests, server, answers, client)
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            for end in ends:
                _reset(end)
        finally:
            for end in ends:
                end.close()
            self._links.discard(link)

    async def _relay(
        self,
        requests: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        client: asyncio.StreamWriter,
    ) -> None:
        asked = asyncio.Event()

        def request() -> float:
            asked.set()
            return 0

        def answer() -> float:
            if not asked.is_set():
                return 0
            asked.clear()
            self.round_trips += 1
            return self.delay

        async with asyncio.TaskGroup() as directions:
            directions.create_task(self._pump(requests, server, request))
            directions.create_task(self._pump(answers, client, answer))

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, arrived: Callable[[], float]
    ) -> None:
        """Pass bytes on until `source` ends, then pass on its end; `arrived` gives the seconds to wait."""
        generation = self._generation
        while chunk := await source.read(CHUNK):
            await asyncio.sleep(arrived())
            await self._flowing.wait()
            if generation != self._generation:
                continue
            sink.write(chunk)
            await sink.drain()
        await self._flowing.wait()
        if generation == self._generation:
            sink.write_eof()


def _reset(end: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # it may be closed already
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    end.transport.abort()
