"""TASK_LIMIT: how many tasks one person may have."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.exceptions import HTTPException

import store
from database import Caller

# People whom a process remembers, those with a create under way apart.
REMEMBERED_PEOPLE = 10_000
# The part of a person's room that one count lets a process fill, so that up to so many processes share it.
SHARES = 16
# Seconds for which a process goes by a count, whether it admitted or refused.
COUNT_LIFETIME = 1.0


class TooManyTasks(HTTPException):
    """A 403."""


class _Person:
    """What this process knows of a person's tasks.

    Until `count_expires`, `left` more creates are admitted; with none left, all are refused. After it, the next create
    counts.
    """

    def __init__(self) -> None:
        self.left, self.count_expires = 0, float("-inf")
        self.waiting_or_running = self.running = 0
        self.deletes = 0
        self.counting = asyncio.Lock()
        self.idle = asyncio.Event()
        self.idle.set()


class TaskLimit:
    """Admits creates while the person has fewer tasks than the limit, with one count for many of them.

    A count that finds `room` for the tasks that a request wants admits `max(wanted, room // SHARES)`, within a second;
    then the process counts again, once its own creates of this person have ended. So one process never exceeds the
    limit.

    With P processes, take the last of their counts. It saw every task made before it, c < limit of them, and admits at
    most limit - c more, since max(wanted, room // SHARES) <= room. Beyond that can only come what the P - 1 others have
    left of counts of their own. That is at most one request each, which may be an array, when they saw fewer than
    2 * SHARES free, as they always do where the limit is below 2 * SHARES. It is up to limit // SHARES each when others
    fill nearly all of the room that they saw, within the second that their counts are good for.

    A create that ended with a 503 may be stored later than the next count, and so come on top.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self._clock = limit, clock
        self._people: dict[str, _Person] = {}

    @asynccontextmanager
    async def admitted(self, database: Caller, user_id: str, wanted: int = 1) -> AsyncIterator[None]:
        """Around the create of so many tasks. Raises `TooManyTasks`, and what a count does."""
        person = self._person(user_id)
        person.waiting_or_running += 1
        try:
            await self._admit(database, user_id, person, wanted)
            try:
                yield
            finally:
                person.running -= 1
                if not person.running:
                    person.idle.set()
        finally:
            person.waiting_or_running -= 1

    def deleted(self, user_id: str) -> None:
        """A task of this person is gone, so that a refusal of before no longer holds."""
        if person := self._people.get(user_id):
            person.deletes += 1
            if not person.left:
                person.count_expires = float("-inf")

    def _person(self, user_id: str) -> _Person:
        if (found := self._people.get(user_id)) is not None:
            return found
        if len(self._people) >= REMEMBERED_PEOPLE:
            # One whose create is under way would be counted without it.
            unused = next((known for known, person in self._people.items() if not person.waiting_or_running), None)
            if unused is not None:
                del self._people[unused]
        return self._people.setdefault(user_id, _Person())

    async def _admit(self, database: Caller, user_id: str, person: _Person, wanted: int) -> None:
        if self._take(person, wanted):
            return
        # Others of this person may wait for a database that hangs, one after the other.
        await database.wait(person.counting.acquire())
        try:
            # Somebody may have counted while this request waited.
            if self._take(person, wanted):
                return
            if self._clock() >= person.count_expires or person.left:
                await database.wait(person.idle.wait())
                await self._count(database, user_id, person, wanted)
            if not self._take(person, wanted):
                raise TooManyTasks(403, self._refusal(wanted))
        finally:
            person.counting.release()

    def _refusal(self, wanted: int) -> str:
        if wanted > 1:
            return f"You may have {self.limit} tasks, and these would be too many; delete some, or add fewer."
        return f"You have as many tasks as you may have ({self.limit}); delete one to add another."

    def _take(self, person: _Person, wanted: int) -> bool:
        if self._clock() >= person.count_expires:
            person.left = 0
        if person.left < wanted:
            return False
        person.left -= wanted
        person.running += 1
        person.idle.clear()
        if not person.left:
            # Not a refusal: the next create counts.
            person.count_expires = float("-inf")
        return True

    async def _count(self, database: Caller, user_id: str, person: _Person, wanted: int) -> None:
        deletes = person.deletes
        room = self.limit - await store.count_tasks(database, user_id, self.limit)
        person.left = max(wanted, room // SHARES) if room >= wanted else 0
        # A delete may have come after the count, which then refuses this request alone.
        is_current = person.left or (wanted == 1 and person.deletes == deletes)
        person.count_expires = self._clock() + COUNT_LIFETIME if is_current else float("-inf")
