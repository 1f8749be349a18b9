"""Calls to the app without a server that TestClient cannot make: many at once, and single ASGI messages."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.types import Message


async def _gather(app: Starlette, calls: Sequence[dict[str, Any]]) -> list[httpx2.Response]:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
        return await asyncio.gather(*(client.request(**call) for call in calls))


def call_at_once(app: Starlette, calls: Sequence[dict[str, Any]]) -> list[httpx2.Response]:
    """Send all of these requests before the first one is answered."""
    return asyncio.run(_gather(app, calls))


class Exchange:
    """One request, message by message. `sent` is what the app sent, `received` how many messages it took."""

    def __init__(self, method: str, path: str, headers: dict[str, str], query: bytes = b"") -> None:
        self.scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "root_path": "",
            "scheme": "http",
            "query_string": query,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
        self.received = 0
        self.sent: list[Message] = []

    def run(self, app: Starlette, messages: Iterable[Message] = ({"type": "http.request"},)) -> list[Message]:
        """After the last of the messages the caller says nothing more, and waits."""
        coming = iter(messages)

        async def receive() -> Message:
            message = next(coming, None)
            if message is None:
                await asyncio.Event().wait()
            assert message
            self.received += 1
            return message

        async def send(message: Message) -> None:
            self.sent.append(message)

        asyncio.run(app(self.scope, receive, send))
        return self.sent
