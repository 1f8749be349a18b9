"""RATE_LIMIT_STORAGE: counts that all processes share through Redis, by `limits`."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import limits
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from web.counts import Counts, Quota, Rate, quota

logger = logging.getLogger("todo.rate_limit")

Answer = TypeVar("Answer")

# Requests of a process that ask Redis at once; further ones wait for their turn.
TURNS = 16
# Seconds that a request waits for its turn and for Redis; then Redis counts as away.
PATIENCE = 0.25
# Seconds that a new connection may take; with TLS to a far Redis it takes longer than anybody should wait.
CONNECTING = 2.0
# Seconds until Redis is asked again after it gave no answer, by one request alone.
PAUSE = 5.0


class QueueTooLong(Exception):
    """Too many requests of this process ask Redis at once."""


class SharedCounts:
    """Counts in Redis, in two round trips a request; in `counts`, in this process alone, while Redis is away.

    So nobody is refused because of Redis, and a request is delayed by it for `PATIENCE` at most. `counts` counts every
    request, so that nobody starts anew with them.
    """

    def __init__(self, rate: str, url: str, counts: Counts, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._item = Rate.of(rate), limits.parse(rate)
        self._counts, self._clock = counts, clock
        self._pool = ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0))
        # The pool has the address. The option is documented, but its type is not.
        options: dict[str, Any] = {"connection_pool": self._pool}
        self._storage = RedisStorage("async+redis://", implementation="redispy", key_prefix="todo", **options)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        self._turns = asyncio.Semaphore(TURNS)
        # What asks Redis, of requests that no longer wait among it.
        self._asking: set[asyncio.Task[Any]] = set()
        # While Redis is away, and when it may be asked again.
        self._is_away, self._again = False, 0.0

    async def open(self) -> None:
        """Connect to Redis, so that no request has to; or log that it is away. Raises nothing."""
        try:
            await self._ask(partial(self._storage.get, "start"), CONNECTING)
        except Exception as error:
            self._fail(error)

    async def close(self) -> None:
        for task in self._asking:
            task.cancel()
        # With TLS, a Redis that hangs does not take leave.
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._pool.aclose()

    async def hit(self, person: str) -> Quota:
        """Count a request, unless it is refused. Raises nothing."""
        own = self._counts.hit(person)
        tries_again = self._is_away
        if tries_again:
            if self._clock() < self._again:
                return own
            self._again = self._clock() + PAUSE
        try:
            found = await self._ask(partial(self._hit, person), PATIENCE)
        except QueueTooLong:
            return own
        except Exception as error:
            # Whatever is wrong with Redis is no reason to refuse people.
            self._fail(error)
            return own
        if tries_again:
            self._is_away = False
            logger.info("Redis answers again; requests are counted there.")
        return found

    async def _ask(self, question: Callable[[], Coroutine[Any, Any, Answer]], patience: float) -> Answer:
        """The answer of Redis.

        Raises `QueueTooLong` when the turn does not come, and `TimeoutError` when the answer does not; a new connection
        is made all the same.
        """
        has_turn = False

        async def ask() -> Answer:
            nonlocal has_turn
            async with asyncio.timeout(CONNECTING), self._turns:
                has_turn = True
                return await question()

        task = asyncio.create_task(ask())
        self._asking.add(task)
        task.add_done_callback(self._asked)
        if not (await asyncio.wait([task], timeout=patience))[0]:
            if has_turn:
                raise TimeoutError
            task.cancel()
            raise QueueTooLong
        return task.result()

    def _asked(self, task: asyncio.Task[Any]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            # Else asyncio logs the exception of a task that nobody waits for.
            task.exception()

    async def _hit(self, person: str) -> Quota:
        # Whatever characters an id has, and however many; and Redis holds no ids.
        key = hashlib.sha256(person.encode()).hexdigest()
        passes = await self._limiter.hit(self._item, key)
        window = self._rate.window
        previous, _, current, ends = await self._storage.get_sliding_window(self._item.key_for(key), window)
        # A key lives for one window longer, as the previous one.
        return quota(self._rate, passes, previous, current, max(0.0, ends - window))

    def _fail(self, error: Exception) -> None:
        if not self._is_away:
            # Errors of Redis never hold the URL, which may hold a password.
            reason = "it does not answer in time" if isinstance(error, TimeoutError) else error
            logger.warning("Redis cannot be used (%s); until it can, each process counts requests by itself.", reason)
        self._is_away, self._again = True, self._clock() + PAUSE
