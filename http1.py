"""Uvicorn's HTTP, with an end to what a request may send besides its body, an answer in one write, and errors in JSON.

To be started as `uvicorn --http http1:BoundedHttp`.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from errors import error_response

# Bytes of a head, of the trailers, or of a chunk's extension. The parser collects them, in a time that grows with their
# square: 100 MB hold everybody up for seconds.
MAXIMUM_HEAD = 64 * 1024

NO_HTTP = "This is no valid HTTP/1.1 request; see to its request line, its headers and the length of its body."
TOO_LARGE = "The request has more than 64 KiB besides its body; shorten its address or its headers."

# No request has reached the app, whose middleware gives these to every other answer.
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Connection": "close"}


class JoinedWrites:
    """A transport that holds what is written until the next write, or the next turn of the event loop.

    Uvicorn writes an answer's head and its body one right after the other; each would be a system call and a packet.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
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


class BoundedHttp(HttpToolsProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Bytes since the parser last got anywhere, counted by what arrives at once (at most 256 KiB).
        self._pending = 0
        self._got_on = False
        # Bytes that have just arrived, and all since those in which the message began: no head has more.
        self._arrived = 0
        self._message = 0
        self._too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(JoinedWrites(transport))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        self._got_on = False
        self._arrived = len(data)
        self._message += self._arrived
        super().data_received(data)
        self._pending = 0 if self._got_on else self._pending + len(data)
        if self._pending > MAXIMUM_HEAD and not self.transport.is_closing():
            self._too_large = True
            self.send_400_response(TOO_LARGE)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's, in which there is nothing to act on
        """In the one shape of an error; uvicorn's own is plain text."""
        response = error_response(400, TOO_LARGE if self._too_large else NO_HTTP, headers=HEADERS)
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = [STATUS_LINE[400], *(name + b": " + value + b"\r\n" for name, value in headers), b"\r\n"]
        self.transport.write(b"".join(lines) + response.body)
        self.transport.close()

    def on_message_begin(self) -> None:
        self._got_on = True
        self._message = self._arrived
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._message > MAXIMUM_HEAD and self._head_size() > MAXIMUM_HEAD:
            self._too_large = True
            # Whatever is raised here stops the parser, and uvicorn sends a 400.
            raise ValueError(TOO_LARGE)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._got_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._got_on = True
        super().on_message_complete()

    def _head_size(self) -> int:
        """Bytes of the head as it is usually written; the parser does not tell where in what arrived it ends."""
        line = len(self.parser.get_method()) + len(self.url) + len(b"  HTTP/1.1\r\n")
        return line + sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers) + len(b"\r\n")
