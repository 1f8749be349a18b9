"""Uvicorn's HTTP, with an end to what a request may send besides its body: `uvicorn --http http1:BoundedHttp`."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Bytes of a head, of the trailers, or of a chunk's extension. The parser collects them, in a time that grows with their
# square: 100 MB hold everybody up for seconds.
MAXIMUM_HEAD = 64 * 1024


class BoundedHttp(HttpToolsProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Bytes since the parser last got anywhere, counted by what arrives at once (at most 256 KiB).
        self._pending = 0
        self._got_on = False

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
