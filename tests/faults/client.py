"""An HTTP client as small as a test under load needs it: one connection, and every failure told apart."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

# Seconds after which an answer counts as lost; the app's own deadline is 5.
REQUEST_TIMEOUT = 15.0


class Lost(Exception):
    """There was no whole answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Keeps its connection as long as the server does, and opens it anew when it is gone.

    A connection that the server closed while idle is not an answer lost: nothing is sent on it (RFC 9112, 9.3.1).
    """

    def __init__(self, address: str, headers: Mapping[str, str]) -> None:
        self._host, self._port = urlsplit(address).hostname, urlsplit(address).port
        self._headers = dict(headers)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Raises `Lost`."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in {**self._headers, **headers}.items()]
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                reader, writer = await self._connection()
                writer.write("\r\n".join([*lines, "", ""]).encode() + content)
                answer = await self._read(reader)
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            raise Lost(repr(error)) from error
        except asyncio.CancelledError:
            self.close()
            raise
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams and (self._streams[0].at_eof() or self._streams[1].is_closing()):
            self.close()
        if not self._streams:
            self._streams = await asyncio.open_connection(self._host, self._port)
        return self._streams

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(head[0].split(" ")[1]), headers, body)
