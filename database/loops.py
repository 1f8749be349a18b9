"""What an event loop owns, and what it waits for in a thread."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One value for each event loop, ended when its loop is closed or at `close`.

    A server has one event loop for life; a `TestClient` without a lifespan has one for each request.
    """

    def __init__(self, make: Callable[[], T], end: Callable[[T], None]) -> None:
        self._make, self._end = make, end
        self._values: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """The value of the running loop."""
        loop = asyncio.get_running_loop()
        value = self._values.get(loop)
        if value is None:
            self._drop(lambda other: other.is_closed())
            value = self._values[loop] = self._make()
        return value

    def all(self) -> list[T]:
        return list(self._values.values())

    def close(self) -> None:
        """End all values, except those of loops that run in other threads, because their values are not thread-safe."""
        try:
            current = asyncio.get_running_loop()
        except RuntimeError:
            current = None
        self._drop(lambda loop: loop is current or not loop.is_running())

    def _drop(self, ended: Callable[[asyncio.AbstractEventLoop], bool]) -> None:
        # Several threads may do so at once.
        for loop in list(self._values):
            if ended(loop) and (value := self._values.pop(loop, None)) is not None:
                self._end(value)


async def in_thread(function: Callable[..., object], *arguments: Any) -> None:
    """Wait for the function in a thread that ends with the process, which one of `asyncio.to_thread` keeps alive.

    The function goes on when the caller is cancelled. Raises what it raises.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        if not ended.done():
            ended.set_exception(error) if error else ended.set_result(None)

    def run() -> None:
        error = None
        try:
            function(*arguments)
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(end, error)

    threading.Thread(target=run, daemon=True).start()
    await ended
