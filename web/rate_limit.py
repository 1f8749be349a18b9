"""RATE_LIMIT: how many requests one person may make."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from web.counts import Counts, Quota, Rate

if TYPE_CHECKING:
    from web.shared_counts import SharedCounts


class RateLimit:
    """Counts the requests of each person: in `counts`, or in `shared`, with a URL of a storage.

    `rate` is as `600/minute`.
    """

    def __init__(self, rate: str, storage: str = "") -> None:
        self.rate, self.counts = Rate.of(rate), Counts(Rate.of(rate))
        self.shared: SharedCounts | None = None
        if storage:
            # So that limits and redis are imported only when they are used.
            from web import shared_counts

            self.shared = shared_counts.SharedCounts(rate, storage, self.counts)
        self._allowed = rate.replace("/", " per ")
        self._policy = (b"ratelimit-policy", b'"person";q=%d;w=%d' % self.rate)

    async def admit(self, scope: Scope) -> None:
        """Count the request of the authenticated user. Raises a 429 for one that is too many, which is not counted.

        `scope["rate_limit"]` gets the headers that `RequestLog` gives to the answer, whatever that will be.
        https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-11
        """
        person: str = scope["user"].id
        quota = self.counts.hit(person) if self.shared is None else await self.shared.hit(person)
        left = b'"person";r=%d;t=%d' % (quota.remaining, math.ceil(quota.seconds))
        scope["rate_limit"] = (self._policy, (b"ratelimit", left))
        if not quota.passes:
            raise self._refusal(quota)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """With connections to the storage, if there is one."""
        if self.shared is None:
            yield
            return
        await self.shared.open()
        yield
        await self.shared.close()

    def _refusal(self, quota: Quota) -> HTTPException:
        wait = str(quota.retry_after)
        detail = f"You have made as many requests as you may make ({self._allowed}); try again in {wait} s."
        return HTTPException(429, detail, headers={"Retry-After": wait})


class LimitRate:
    """Middleware: lets a request pass while its person may make one more."""

    def __init__(self, app: ASGIApp, limit: RateLimit) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.limit.admit(scope)
        await self.app(scope, receive, send)
