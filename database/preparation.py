"""Prepares the tables: one attempt at a time, which all callers in an event loop share."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from database.errors import DatabaseUnavailable, NotPrepared

# Seconds. After a failed change of the tables the next attempt waits for so long, then for twice as long.
INITIAL_BACKOFF = 0.5
MAX_BACKOFF = 10.0


class Preparation:
    """Not prepared, being prepared, or `done`. `result` is set by the first success, and kept.

    A caller waits until the deadline. The attempt may take longer, when it brings older tables up to date. After one
    that found tables of another layout, or failed to change them, for instance because another session holds a lock,
    there is a pause: a session that waits for a lock blocks others.
    """

    def __init__(
        self,
        prepare: Callable[[float], Awaitable[Any]],
        deadline: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prepare, self._deadline, self._clock = prepare, deadline, clock
        self.done = False
        self.result: Any = None
        self._attempt: asyncio.Task[None] | None = None
        self._failure: NotPrepared | None = None
        self._pause = INITIAL_BACKOFF
        self._pause_ends = 0.0

    async def run(self) -> None:
        """Take part in the attempt under way, or begin one. Raises `DatabaseUnavailable` as the attempt does."""
        loop = asyncio.get_running_loop()
        attempt = self._attempt
        if attempt is None or attempt.done() or attempt.get_loop() is not loop:
            if self._failure is not None and self._clock() < self._pause_ends:
                # A new exception: one that is raised again collects the frames of every caller in its traceback.
                raise NotPrepared(*self._failure.args)
            attempt = self._attempt = loop.create_task(self._try())
            # All who wait for it may have been cancelled.
            attempt.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            async with asyncio.timeout(self._deadline):
                await asyncio.shield(attempt)
        except TimeoutError:
            raise DatabaseUnavailable(f"no answer within {self._deadline:g} seconds") from None
        except DatabaseUnavailable as error:
            # A new exception for each caller, for the same reason as above.
            raise type(error)(*error.args) from None

    def forget(self) -> None:
        self.done = False

    async def _try(self) -> None:
        try:
            self.result = await self._prepare(self._deadline)
        except NotPrepared as error:
            self.done = False
            self._failure = error
            self._pause_ends = self._clock() + self._pause
            self._pause = min(2 * self._pause, MAX_BACKOFF)
            raise
        self._failure, self._pause = None, INITIAL_BACKOFF
        self.done = True
