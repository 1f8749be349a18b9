"""Counts of requests over a sliding window, per person, in the memory of this process."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

# People whose requests a process remembers; the one who was away for longest is forgotten first.
REMEMBERED_PEOPLE = 10_000
# Seconds; more than what rounding and the clock of Redis, which counts milliseconds, may be off by.
TOLERANCE = 0.001

PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class Rate(NamedTuple):
    """How many requests in how many seconds."""

    limit: int
    window: int

    @classmethod
    def of(cls, text: str) -> "Rate":
        """From RATE_LIMIT, such as `600/minute`, which `Settings` has checked."""
        limit, _, period = text.partition("/")
        return cls(int(limit), PERIODS[period])


class Quota(NamedTuple):
    """Whether a request passes, how many more may follow at once, and in how many seconds that number grows."""

    passes: bool
    remaining: int
    seconds: float

    @property
    def retry_after(self) -> int:
        """Whole seconds, at least 1, after which a request that was refused passes if nothing else was sent."""
        return math.floor(self.seconds + TOLERANCE) + 1


def quota(rate: Rate, passes: bool, previous: int, current: int, left: float) -> Quota:
    """The quota by a sliding window counter, as `limits` has it.

    A window begins with a person's first request. `current` requests were counted in it, with `left` seconds to go,
    and `previous` in the one before, which count for the part of it that the sliding window still covers.
    """
    used = math.floor(previous * left / rate.window) + current
    # The quota grows as soon as fewer than so many are counted.
    fewer = min(used, rate.limit)
    if current >= fewer:
        # In the next window, where those of this one begin to count for less.
        seconds = left + rate.window * (1 - fewer / current) if fewer else 0.0
    else:
        seconds = left - (fewer - current) * rate.window / previous
    return Quota(passes, max(0, rate.limit - used) if passes else 0, seconds)


class Counts:
    """Each request takes the same time, however many people there are.

    `MemoryStorage` of `limits` bounds neither its memory nor the time that it takes: it walks over all people at each
    request (asyncio), or a hundred times a second in a thread.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        # When the window began, how many were counted in the one before, and how many in it; the latest person last.
        self._people: OrderedDict[str, tuple[float, int, int]] = OrderedDict()

    def hit(self, person: str) -> Quota:
        """Count a request, unless it is refused."""
        window, now = self._rate.window, self._clock()
        began, previous, current = self._people.pop(person, (now, 0, 0))
        if now - began >= 2 * window:
            began, previous, current = now, 0, 0
        elif now - began >= window:
            began, previous, current = began + window, current, 0
        left = began + window - now
        passes = math.floor(previous * left / window) + current < self._rate.limit
        current += passes
        self._people[person] = (began, previous, current)
        if len(self._people) > REMEMBERED_PEOPLE:
            self._people.popitem(last=False)
        return quota(self._rate, passes, previous, current, left)
