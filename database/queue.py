"""Who may ask the database next: a bounded queue in which people, not requests, take turns."""

import asyncio
from collections import deque
from typing import NamedTuple

from database.errors import DatabaseUnavailable

# Calls that may wait for each place before others are turned away.
WAITING_PER_PLACE = 128
# Seconds between two heavy calls of one person while more are waiting. Other people have the event loop meanwhile.
REST = 0.008


class Statistics(NamedTuple):
    """How many calls have a place, connections are idle, and calls wait; and how many calls were ever turned away."""

    in_use: int = 0
    idle: int = 0
    waiting: int = 0
    refused: int = 0


class FairQueue:
    """`places` calls at a time, of which one person has at most a quarter, or one; the others wait.

    1. A place is free, no other call of the person waits, and they hold less than their share: the call enters at once.
       A call that is `heavy`, such as a long list, enters only while the person holds none, and not while they rest.
    2. Otherwise it waits. A place that becomes free goes to the first person in turn whose next call may enter; after
       that their turn comes behind everybody else's.
    3. A heavy call ends while another one of the same person waits: the person rests.
    4. The queue is full: the person with the most waiting calls loses the latest of them, so that nobody is turned
       away because of somebody else's burst.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._share = max(1, places // 4)
        self._maximum = places * WAITING_PER_PLACE
        self._resting: set[str] = set()
        self._held: dict[str, int] = {}
        # Waiting calls by person, in the order of the people's turns. No line is empty.
        self._lines: dict[str, deque[_Turn]] = {}
        self._waiting = 0
        self._refused = 0

    def statistics(self, idle: int = 0) -> "Statistics":
        """Of this queue, and of as many idle connections."""
        return Statistics(sum(self._held.values()), idle, self._waiting, self._refused)

    async def enter(self, person: str, heavy: bool = False) -> None:
        """Wait for a place; `leave` gives it back. Raises `DatabaseUnavailable` when the queue is full."""
        if self._free and person not in self._lines and self._may_enter(person, heavy):
            self._take(person)
        else:
            await self._wait(person, heavy)

    def leave(self, person: str, heavy: bool = False) -> None:
        """Free the place for another call. `heavy` may differ from what `enter` was told."""
        if heavy and person in self._lines:
            self._resting.add(person)
            asyncio.get_running_loop().call_later(REST, self._end_rest, person)
        self._free += 1
        self._held[person] -= 1
        if not self._held[person]:
            del self._held[person]
        if self._lines:
            self._admit()

    def _end_rest(self, person: str) -> None:
        self._resting.discard(person)
        self._admit()

    def _may_enter(self, person: str, heavy: bool) -> bool:
        if heavy:
            return person not in self._held and person not in self._resting
        return self._held.get(person, 0) < self._share

    def _take(self, person: str) -> None:
        self._free -= 1
        self._held[person] = self._held.get(person, 0) + 1

    async def _wait(self, person: str, heavy: bool) -> None:
        if self._waiting >= self._maximum:
            self._make_room(person)
        turn = _Turn(asyncio.get_running_loop().create_future(), heavy)
        self._lines.setdefault(person, deque()).append(turn)
        self._waiting += 1
        try:
            await turn.comes
        except asyncio.CancelledError:
            if turn in self._lines.get(person, ()):
                self._remove(person, turn)
                # Whoever is behind it in the line may be able to enter.
                self._admit()
            elif turn.is_given:
                # Admitted and cancelled in the same iteration of the event loop.
                self.leave(person)
            raise

    def _admit(self) -> None:
        while self._free:
            person = next((name for name, line in self._lines.items() if self._may_enter(name, line[0].heavy)), None)
            if person is None:
                return
            turn = self._lines[person][0]
            self._remove(person, turn)
            if person in self._lines:
                self._lines[person] = self._lines.pop(person)
            # Its call may have been cancelled in the same iteration of the event loop.
            if not turn.comes.done():
                self._take(person)
                turn.comes.set_result(None)

    def _make_room(self, person: str) -> None:
        error = DatabaseUnavailable("too many calls wait for the database")
        self._refused += 1
        most = max(self._lines, key=lambda name: len(self._lines[name]))
        if len(self._lines[most]) <= len(self._lines.get(person, ())) + 1:
            raise error
        turn = self._lines[most][-1]
        self._remove(most, turn)
        if not turn.comes.done():
            turn.comes.set_exception(error)

    def _remove(self, person: str, turn: "_Turn") -> None:
        line = self._lines[person]
        line.remove(turn)
        self._waiting -= 1
        if not line:
            del self._lines[person]


class _Turn(NamedTuple):
    """A call that waits."""

    comes: "asyncio.Future[None]"
    heavy: bool

    @property
    def is_given(self) -> bool:
        return self.comes.done() and not self.comes.cancelled() and not self.comes.exception()
