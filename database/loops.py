"""Values that belong to one event loop."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

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
