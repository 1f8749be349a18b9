"""One GET with an end to it, in time and in bytes.

`urllib`, and PyJWT's client on it, bound no more than each read: who sends byte after byte holds them for good.
"""

import socket
import threading
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

# Bytes of an answer.
MAXIMUM = 1024 * 1024


def download(url: str, seconds: float) -> bytes:
    """The body of a 2xx answer, by way of the proxies that the environment names, and without following redirects.

    It blocks for `seconds` at most, and for as many for each address of the host that cannot be connected to. Raises
    `OSError` (which `HTTPError`, `URLError` and `TimeoutError` are), `http.client.HTTPException`, and `ValueError`
    for more than 1 MiB.
    """
    with _Watch(seconds) as watch:
        try:
            with build_opener(watch, _NoRedirects).open(url, timeout=seconds) as answer:
                body: bytes = answer.read(MAXIMUM + 1)
        except HTTPError as error:
            error.close()
            raise
    if len(body) > MAXIMUM:
        raise ValueError(f"the answer is larger than {MAXIMUM} bytes")
    return body


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class _Watch(HTTPHandler, HTTPSHandler):
    """Opens connections, and ends the last one when its time is over, be it in the middle of a read."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._expired = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> "_Watch":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._expired:
            raise TimeoutError(f"no whole answer within {self._seconds:g} seconds")

    def do_open(self, http_class: Any, req: Request, **options: Any) -> Any:
        return super().do_open(partial(self._connection, http_class), req, **options)

    def _connection(self, http_class: Any, host: str, **options: Any) -> Any:
        connection = http_class(host, **options)

        def connect() -> None:
            http_class.connect(connection)
            # The connection has lost it by the time that the body is read.
            self._socket = connection.sock
            if self._expired:
                raise TimeoutError

        connection.connect = connect
        return connection

    def _expire(self) -> None:
        self._expired = True
        if self._socket is not None:
            # It may be closed already.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
