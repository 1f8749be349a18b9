"""Uvicorn's HTTP/1.1 protocol, one request at a time: bounds on time and memory, one write an answer, errors in JSON.

Used by `uvicorn --http web.http1:BoundedHttp`.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from web.errors import error_response

# Maximum bytes of a head, of trailers, or of chunk extensions, which the parser reads in quadratic time (100 MB take
# seconds). Also the bytes of further requests that are buffered before reading from the connection is paused.
MAXIMUM_HEAD = 64 * 1024

NO_HTTP = "This is not a valid HTTP/1.1 request; check its request line, its headers and the length of its body."
TOO_LARGE = "The request has more than 64 KiB besides its body; shorten its address or its headers."

# As the middleware adds to every other answer; no request has reached it.
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Connection": "close"}


class TooLarge(Exception):
    """The head is longer than `MAXIMUM_HEAD`."""


class JoinedWrites:
    """A transport that delays a write until the next write or the next iteration of the event loop.

    Uvicorn writes the head and the body of an answer separately; each would be a system call and a packet.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held, self._written = b"", 0
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def taken(self) -> int:
        """Bytes that the operating system has accepted."""
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
    """An answer to HTTP/1.0: no chunks; a body without a length ends with the connection (RFC 9112, section 6.3)."""

    async def send(self, message: Any) -> None:
        self.chunked_encoding = False
        self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class BoundedHttp(HttpToolsProtocol):
    """Parses a request only after the one before it was answered (RFC 9112, section 9.3.2).

    Data is parsed in pieces, none of which reaches beyond the end of a request. A connection is in one of three states:

    1. A head is expected.
    2. A body is expected (`_in_body`); its request may have been answered already.
    3. A complete request is being answered (`_waiting`). Data that arrives meanwhile is held.
    """

    # Seconds between two checks of a connection. Without progress from one to the next it is aborted.
    patience = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Received data, and the index from which it is not parsed yet.
        self._arrived, self._start = b"", 0
        self._waiting = self._in_body = False
        # Bytes of the body still expected; 0 for a chunked one, None until its headers were read.
        self._body_left: int | None = None
        # Bytes parsed since the last progress: exact for a head, in steps of one read (256 KiB) for the rest.
        self._pending = 0
        # Heads and pieces of bodies received so far; and what the last check saw.
        self._moves = 0
        self._seen = (False, 0)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._writes = JoinedWrites(transport)
        super().connection_made(self._writes)  # type: ignore[arg-type]
        self._timer = self.loop.call_later(self.patience, self._check)

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
        # Nothing is parsed on a connection that is being closed.
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
        """Keep data until the current request is answered."""
        self._arrived, self._start = data, start
        if len(data) - start > MAXIMUM_HEAD:
            # Not by `self.flow`, which the app resumes whenever it waits for a disconnect.
            self.transport.pause_reading()

    def _end(self, data: bytes, start: int) -> int:
        """The end of the next piece: of the body, or of the empty line that ends heads and chunked bodies."""
        if self._in_body:
            if self._body_left is None:
                self._body_left = int(dict(self.scope["headers"]).get(b"content-length", 0))
            if self._body_left:
                return min(start + self._body_left, len(data))
        # The rest of an empty line whose beginning arrived before.
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
        """Parse the head again without `Upgrade` (RFC 9110, section 7.8), or the parser would expect no body."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            return self.send_400_response(NO_HTTP)
        lines = [b"%s %s HTTP/%s\r\n" % (method, self.url, version)]
        lines += [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._pending = 0
        self._feed(b"".join([*lines, b"\r\n"]))

    def send_400_response(self, msg: str) -> None:
        """400 in JSON, where uvicorn's own is plain text. Nothing is parsed after it."""
        self.logger.warning("Invalid HTTP request received.")
        self._waiting = True
        if self._in_body:
            if self.cycle.response_started:
                # The client would take a second answer for that of its next request.
                return self.transport.close()
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        response = error_response(400, msg, headers=HEADERS)
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = [STATUS_LINE[400], *(name + b": " + value + b"\r\n" for name, value in headers), b"\r\n"]
        self.transport.write(b"".join(lines) + response.body)
        self.transport.close()

    def on_headers_complete(self) -> None:
        if self._pending > MAXIMUM_HEAD:
            raise TooLarge  # which stops the parser
        if self.parser.should_upgrade():
            return
        if not self._is_sound():
            raise ValueError
        super().on_headers_complete()
        # Trailers are collected here from now on; they are not headers (RFC 9110, section 6.5.1).
        self.headers = []
        self._in_body, self._body_left = True, None
        self._moves += 1
        if self.scope["http_version"] != "1.1":
            self.cycle.__class__ = ClosingCycle
            self.cycle.keep_alive = False
            self.cycle.waiting_for_100_continue = False  # RFC 9110, section 10.1.1

    def _is_sound(self) -> bool:
        """One Host in HTTP/1.1 (RFC 9112, section 3.2), and no encoding but chunks, as with h11."""
        names = [header[0] for header in self.headers]
        if names.count(b"host") != 1 and self.parser.get_http_version() == "1.1":
            return False
        encoded = b"transfer-encoding" in names
        return not encoded or [v.lower() for n, v in self.headers if n == b"transfer-encoding"] == [b"chunked"]

    def on_body(self, body: bytes) -> None:
        self._pending = 0
        self._moves += 1
        if self._body_left:
            self._body_left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Also called after the head of a request to upgrade."""
        if self._in_body:
            self._in_body = False
            self._pending = 0
            self._waiting = not self.cycle.response_complete
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def _check(self) -> None:
        """Abort when the client reads nothing, or sends nothing while a request is expected."""
        writing = self.transport.get_write_buffer_size() > 0
        seen = (writing, self._writes.taken if writing else self._moves)
        ours = self._waiting or self.flow.read_paused or self.timeout_keep_alive_task
        if seen == self._seen and (writing or not ours):
            self.transport.abort()
        else:
            self._seen = seen
            self._timer = self.loop.call_later(self.patience, self._check)
