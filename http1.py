"""Uvicorn's HTTP, with an end to what a request may send besides its body, and an answer in one write.

To be started as `uvicorn --http http1:BoundedHttp`.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Bytes of a head, of the trailers, or of a chunk's extension. The parser collects them, in a time that grows with their
# square: 100 MB hold everybody up for seconds.
MAXIMUM_HEAD = 64 * 1024


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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(JoinedWrites(transport))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        self._got_on = False
        super().data_received(data)
        self._pending = 0 if self._got_on else self._pending + len(data)
        if self._pending > MAXIMUM_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        self._got_on = True
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        self._got_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._got_on = True
        super().on_message_complete()
