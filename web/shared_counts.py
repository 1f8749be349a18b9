"""RATE_LIMIT_STORAGE: counts that all processes share through Redis, by `limits`."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import limits
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from web.counts import Counts, Quota, Rate, quota

logger = logging.getLogger("todo.rate_limit")

# Connections of a process to Redis; further requests wait for their turn.
CONNECTIONS = 16
# Seconds that a request waits for Redis.
PATIENCE = 0.25
# Seconds until Redis is asked again after it gave no answer, by one request alone.
PAUSE = 5.0


class SharedCounts:
    """Counts in Redis, in two round trips a request; in `counts`, in this process alone, while Redis gives no answer.

    So nobody is refused because of Redis, and a request is delayed by it for `PATIENCE` at most.
    """

    def __init__(self, rate: str, url: str, counts: Counts, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._item = Rate.of(rate), limits.parse(rate)
        self._counts, self._clock = counts, clock
        self._pool = ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0))
        # The pool has the address. The option is documented, but its type is not.
        options: dict[str, Any] = {"connection_pool": self._pool}
        storage = RedisStorage("async+redis://", implementation="redispy", key_prefix="todo", **options)
        self._storage, self._limiter = storage, SlidingWindowCounterRateLimiter(storage)
        self._turns = asyncio.Semaphore(CONNECTIONS)
        # During an outage of Redis, and when it may be asked again.
        self._is_out, self._again = False, 0.0

    async def hit(self, person: str) -> Quota:
        """Count a request, unless it is refused. Raises nothing."""
        async with self._turns:
            tries_again = self._is_out
            if tries_again:
                if self._clock() < self._again:
                    return self._counts.hit(person)
                self._again = self._clock() + PAUSE
            try:
                async with asyncio.timeout(PATIENCE):
                    found = await self._hit(person)
            except Exception as error:
                # Whatever is wrong with Redis is no reason to refuse people.
                self._fail(error)
                return self._counts.hit(person)
        if tries_again:
            self._is_out = False
            logger.info("Redis answers again; requests are counted there.")
        return found

    async def close(self) -> None:
        # With TLS, a Redis that hangs does not take leave.
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._pool.aclose()

    async def _hit(self, person: str) -> Quota:
        # Whatever characters an id has, and however many; and Redis holds no ids.
        key = hashlib.sha256(person.encode()).hexdigest()
        passes = await self._limiter.hit(self._item, key)
        window = self._rate.window
        previous, _, current, ends = await self._storage.get_sliding_window(self._item.key_for(key), window)
        # A key lives for one window longer, as the previous one.
        return quota(self._rate, passes, previous, current, max(0.0, ends - window))

    def _fail(self, error: Exception) -> None:
        if not self._is_out:
            # Errors of Redis never hold the URL, which may hold a password.
            reason = f"no answer within {PATIENCE} s" if isinstance(error, TimeoutError) else error
            logger.warning("Redis cannot be used (%s); until it can, each process counts requests by itself.", reason)
        self._is_out, self._again = True, self._clock() + PAUSE
