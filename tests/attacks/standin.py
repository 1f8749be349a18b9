"""Uvicorn's protocols without sockets: what arrives in which pieces, and what is answered, are exact."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import uvicorn
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from tests.attacks.wire import Answer, answers
from web.http1 import MAXIMUM_HEAD

# Turns of the event loop in which an app that waits for nobody has done all that it can.
TURNS = 10


class Transport:
    """Keeps what is written, until somebody closes it. `unread` bytes of it are not taken by the client."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = self.aborted = self.paused = False
        self.unread = 0

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return self.unread

    def get_extra_info(self, _: str) -> None:
        return None

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


@cache
def config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(app, ws="none", log_config=None, h11_max_incomplete_event_size=MAXIMUM_HEAD)


class Clock:
    """The running event loop, but for its timers, which are due when the test says so."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timers: list[Timer] = []
        self.now = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay: float, callback: Callable[[], object]) -> "Timer":
        self._timers.append(Timer(self.now + delay, callback))
        return self._timers[-1]

    async def pass_a_second(self) -> None:
        self.now += 1
        due = [timer for timer in self._timers if timer.when <= self.now]
        self._timers = [timer for timer in self._timers if timer not in due]
        for timer in due:
            timer.callback()
        await turns()


@dataclass
class Timer:
    when: float
    callback: Callable[[], object]

    def cancel(self) -> None:
        self.when = math.inf


class Connection:
    """A client's connection to a protocol, in the running event loop."""

    def __init__(self, http: type[Any], app: ASGIApp) -> None:
        self.clock = Clock()
        self.protocol = http(config(app), ServerState(), {}, self.clock)
        self.transport = Transport()
        self.protocol.connection_made(self.transport)

    async def say(self, *pieces: bytes) -> None:
        """Send them with pauses, until the server closes."""
        for piece in pieces:
            # An event loop tells of no empty piece; h11 would take it for the end.
            if piece and not self.transport.closed:
                self.protocol.data_received(piece)
                await turns()

    def answers(self) -> list[Answer]:
        """All so far, which are whole."""
        return answers(b"".join(self.transport.written))

    async def leave(self) -> None:
        self.transport.closed = True
        self.protocol.connection_lost(None)
        await turns()


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers what it has got, as JSON, when its body has come; at `/early` before that, at `/list` a piece a turn."""
    path, body, more = scope["path"], b"", scope["path"] != "/early"
    if path == "/list":
        return await StreamingResponse(numbers())(scope, receive, send)
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    answer = json.dumps([scope["method"], path, body.decode("latin-1"), dict(headers(scope))]).encode()
    await send(
        {
            "type": "http.response.start",
            # An answer of 200 to CONNECT would make a tunnel.
            "status": 405 if scope["method"] == "CONNECT" else 200,
            "headers": [(b"content-length", b"%d" % len(answer))],
        }
    )
    await send({"type": "http.response.body", "body": answer})


def headers(scope: Scope) -> Iterator[tuple[str, str]]:
    for name, value in scope["headers"]:
        # Ours leaves it out.
        if name != b"upgrade":
            # The parsers differ in whether the spaces behind a value belong to it.
            yield name.decode("latin-1"), value.decode("latin-1").strip()


async def numbers() -> AsyncIterator[bytes]:
    for number in range(3):
        await asyncio.sleep(0)
        yield b"%d" % number
