"""Uvicorn's HTTP, one request after the other: bounds on time and memory, an answer in one write, and errors in JSON.

To be started as `uvicorn --http web.http1:BoundedHttp`.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from web.errors import error_response

# Bytes of a head, of the trailers, or of a chunk's extension. The parser collects them, in a time that grows with their
# square: 100 MB hold everybody up for seconds. Also the bytes that a client may send ahead before it is kept waiting.
MAXIMUM_HEAD = 64 * 1024

NO_HTTP = "This is not a valid HTTP/1.1 request; check its request line, its headers and the length of its body."
TOO_LARGE = "The request has more than 64 KiB besides its body; shorten its address or its headers."

# No request has reached the app, whose middleware gives these to every other answer.
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Connection": "close"}


class TooLarge(Exception):
    """A head is longer than `MAXIMUM_HEAD`."""


class JoinedWrites:
    """A transport that holds what is written until the next write, or the next turn of the event loop.

    Uvicorn writes an answer's head and its body one right after the other; each would be a system call and a packet.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held = b""
        self._written = 0
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def taken(self) -> int:
        """Bytes that have left the process."""
        return self._written - len(self._held) - self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        self._written += len(data)
        if self._held:
            data, self._held = self._held + data, b""
            self._transport.write(data)
        else:
            self._held = data
            self._loop.call_soon(self._release)

    def close(self) -> None:
        self._release()
        self._transport.close()

    def _release(self) -> None:
        # The client may have gone since.
        if self._held and not self._transport.is_closing():
            self._transport.write(self._held)
        self._held = b""


class ClosingCycle(RequestResponseCycle):
    """An answer to HTTP/1.0: there are no chunks, and what has no length ends with the connection (RFC 9112, 6.3)."""

    async def send(self, message: Any) -> None:
        self.chunked_encoding = False
        self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class BoundedHttp(HttpToolsProtocol):
    """Gives the parser nothing of a request until the one before it is answered (RFC 9112, section 9.3.2).

    What arrives is parsed in pieces, none of which goes beyond the end of a request. The client has to send
    1. a head;
    2. a body (`_in_body`), be the request answered already or not;
    3. nothing: a whole request waits for its answer (`_waiting`), and what arrives meanwhile is held.
    """

    # Seconds between two looks at a connection; what should have moved in between and has not is cut off.
    patience = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What has arrived, and from where on it is not parsed yet.
        self._arrived, self._start = b"", 0
        self._waiting = self._in_body = False
        # Bytes of a body that are to come; 0 for chunks, None before the first look at its headers.
        self._body_left: int | None = None
        # Bytes since the parser last got anywhere: those of a head exactly, others by what arrives at once (256 KiB).
        self._pending = 0
        # Heads and pieces of bodies; and what the last look saw.
        self._moves = 0
        self._seen = (False, 0)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._writes = JoinedWrites(transport)
        super().connection_made(self._writes)  # type: ignore[arg-type]
        self._timer = self.loop.call_later(self.patience, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._waiting:
            self._hold(self._arrived[self._start :] + data, 0)
        else:
            self._parse(data, 0)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Nothing is parsed any more once the connection closes.
        self._waiting = self.transport.is_closing()
        if self._arrived and not self._waiting:
            self._unset_keepalive_if_required()
            self.transport.resume_reading()
            self._parse(self._arrived, self._start)

    def _parse(self, data: bytes, start: int) -> None:
        size = len(data)
        while not self._waiting and start < size:
            end = self._end(data, start)
            self._feed(memoryview(data)[start:end] if end - start < size else data)
            start = end
        if start < size:
            self._hold(data, start)
        elif self._arrived:
            self._arrived = b""

    def _hold(self, data: bytes, start: int) -> None:
        """Until the request before it is answered."""
        self._arrived, self._start = data, start
        if len(data) - start > MAXIMUM_HEAD:
            # Not by `self.flow`: the app resumes that one whenever it listens for a disconnect.
            self.transport.pause_reading()

    def _end(self, data: bytes, start: int) -> int:
        """Where the next piece ends: with the body, or with an empty line, as heads and chunked bodies do."""
        if self._in_body:
            if self._body_left is None:
                self._body_left = int(dict(self.scope["headers"]).get(b"content-length", 0))
            if self._body_left:
                return min(start + self._body_left, len(data))
        # The rest of an empty line that began in what arrived before.
        end = data.find(b"\n", start, 3)
        if end >= 0:
            return end + 1
        end = data.find(b"\r\n\r\n", max(start - 3, 0))
        return end + 4 if end >= 0 else len(data)

    def _feed(self, piece: bytes | memoryview) -> None:
        self._pending += len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._ignore_upgrade()
        except httptools.HttpParserError as error:
            self.send_400_response(TOO_LARGE if isinstance(error.__context__, TooLarge) else NO_HTTP)
        else:
            if self._pending > MAXIMUM_HEAD:
                self.send_400_response(TOO_LARGE)

    def _ignore_upgrade(self) -> None:
        """As a server may (RFC 9110, section 7.8). The parser takes a request to upgrade for one without a body."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            return self.send_400_response(NO_HTTP)
        lines = [b"%s %s HTTP/%s\r\n" % (method, self.url, version)]
        lines += [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._pending = 0
        self._feed(b"".join([*lines, b"\r\n"]))

    def send_400_response(self, msg: str) -> None:
        """In the one shape of an error; uvicorn's own is plain text. Nothing more is parsed after it."""
        self.logger.warning("Invalid HTTP request received.")
        self._waiting = True
        if self._in_body:
            if self.cycle.response_started:
                # Whoever counts must not take this for the answer to the next request.
                return self.transport.close()
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        response = error_response(400, msg, headers=HEADERS)
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = [STATUS_LINE[400], *(name + b": " + value + b"\r\n" for name, value in headers), b"\r\n"]
        self.transport.write(b"".join(lines) + response.body)
        self.transport.close()

    def on_headers_complete(self) -> None:
        # Whatever is raised here stops the parser.
        if self._pending > MAXIMUM_HEAD:
            raise TooLarge
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        # What comes from now on are trailers, which are no headers (RFC 9110, section 6.5.1).
        self.headers = []
        self._in_body, self._body_left = True, None
        self._moves += 1
        if self.scope["http_version"] != "1.1":
            self.cycle.__class__ = ClosingCycle
            self.cycle.keep_alive = False
            # RFC 9110, section 10.1.1
            self.cycle.waiting_for_100_continue = False

    def on_body(self, body: bytes) -> None:
        self._pending = 0
        self._moves += 1
        if self._body_left:
            self._body_left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Called for a head that wants an upgrade too."""
        if self._in_body:
            self._in_body = False
            self._pending = 0
            self._waiting = not self.cycle.response_complete
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def _look(self) -> None:
        """Cut off a client that takes nothing, or sends nothing when it is its turn; not one that waits for the app."""
        writing = self.transport.get_write_buffer_size() > 0
        seen = (writing, self._writes.taken if writing else self._moves)
        ours = self._waiting or self.flow.read_paused or self.timeout_keep_alive_task
        if seen == self._seen and (writing or not ours):
            self.transport.abort()
        else:
            self._seen = seen
            self._timer = self.loop.call_later(self.patience, self._look)
