"""HTTP/1.1 as bytes on a socket, where every other client is too polite to lie."""

import asyncio
import re
import socket
from contextlib import closing, suppress
from typing import NamedTuple
from urllib.parse import urlsplit

# Seconds without a byte after which an answer counts as missing.
ANSWER_TIMEOUT = 10


class Answer(NamedTuple):
    status: int
    # Names in lower case, in order.
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)

    @property
    def of_the_app(self) -> bool:
        """Rather than of the server, which answers by itself what is no HTTP."""
        return self.header(b"x-request-id") is not None


def talk(address: str, data: bytes, *, hang_up: bool = False) -> bytes:
    """All that comes back for these bytes until the server closes the connection.

    To hang up is to end our side of it at once, as for a request that is not complete.
    """
    parts = urlsplit(address)
    received = b""
    with closing(socket.create_connection((parts.hostname, parts.port), ANSWER_TIMEOUT)) as connection:
        # A server that has heard enough closes while we still speak.
        with suppress(ConnectionError):
            connection.sendall(data)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while piece := connection.recv(65536):
                received += piece
    return received


def answers(received: bytes, *, to_head: bool = False) -> list[Answer]:
    """Raises `AssertionError` for bytes that belong to no answer."""
    found = []
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        version, status, _ = lines[0].split(b" ", 2)
        assert (version, end) == (b"HTTP/1.1", b"\r\n\r\n"), received[:200]
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:])]
        if dict(headers).get(b"transfer-encoding") == b"chunked":
            body, received = _chunked(rest)
        else:
            size = _size(int(status), dict(headers), to_head, len(rest))
            body, received = rest[:size], rest[size:]
            assert len(body) == size
        found.append(Answer(int(status), headers, body))
    return found


def _size(status: int, headers: dict[bytes, bytes], to_head: bool, rest: int) -> int:
    """Without a length a body ends with the connection (RFC 9112, section 6.3)."""
    if to_head or status in (100, 204, 304):
        return 0
    return int(headers.get(b"content-length", rest))


def _chunked(rest: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
        if not length:
            return body, rest


async def read_one(reader: asyncio.StreamReader) -> bytes:
    """The bytes of the next answer, which has a length or chunks."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    if length:
        return head + await reader.readexactly(int(length[1]))
    body = b""
    while b"transfer-encoding: chunked" in head.lower() and not body.endswith(b"0\r\n\r\n"):
        body += await reader.readuntil(b"\r\n")
        size = int(body.rsplit(b"\r\n", 2)[-2], 16)
        body += await reader.readexactly(size + 2)
    return head + body


def request(method: str, target: str, *headers: str, body: bytes = b"", close: bool = True) -> bytes:
    """A request in order; with a `Content-Length` when there is a body."""
    lines = [f"{method} {target} HTTP/1.1", "Host: testserver", *headers]
    lines += [f"Content-Length: {len(body)}"] * bool(body) + ["Connection: close"] * close
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
