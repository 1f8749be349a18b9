"""Who may ask the database next."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database import DatabaseUnavailable
from database.queue import WAITING_PER_PLACE, FairQueue
from tests.database.conftest import Run


class Crowd:
    """Calls to a queue. `inside` are those that have a place, in the order in which they got it."""

    def __init__(self, places: int) -> None:
        self.queue = FairQueue(places)
        self.inside: list[str] = []
        self.calls: list[tuple[str, asyncio.Task[None]]] = []

    async def come(self, *people: str, heavy: bool = False) -> None:
        for person in people:
            self.calls.append((person, asyncio.create_task(self._enter(person, heavy))))
        await asyncio.sleep(0)

    async def leave(self, person: str, heavy: bool = False) -> None:
        self.inside.remove(person)
        self.queue.leave(person, heavy)
        await asyncio.sleep(0)

    async def give_up(self, *calls: int) -> None:
        for call in calls:
            self.calls[call][1].cancel()
        await asyncio.gather(*(self.calls[call][1] for call in calls), return_exceptions=True)

    def refused(self) -> list[str]:
        return [name for name, call in self.calls if call.done() and not call.cancelled() and call.exception()]

    async def end(self) -> None:
        for _, call in self.calls:
            call.cancel()
        await asyncio.gather(*(call for _, call in self.calls), return_exceptions=True)

    async def _enter(self, person: str, heavy: bool) -> None:
        await self.queue.enter(person, heavy)
        self.inside.append(person)


def test_people_take_turns_however_many_calls_one_of_them_makes(run: Run) -> None:
    async def turns() -> list[str]:
        crowd = Crowd(1)
        await crowd.come("ada", "ada", "ada", "ada", "bob", "eve")
        order = []
        while crowd.inside:
            order += crowd.inside
            await crowd.leave(crowd.inside[0])
        return order

    assert run(turns()) == ["ada", "ada", "bob", "eve", "ada", "ada"]


@pytest.mark.parametrize(("places", "share"), [(1, 1), (3, 1), (8, 2), (16, 4)])
def test_one_person_has_at_most_a_quarter_of_the_places(run: Run, places: int, share: int) -> None:
    async def inside() -> list[str]:
        crowd = Crowd(places)
        await crowd.come(*["ada"] * 50)
        alone = list(crowd.inside)
        await crowd.come("bob")
        found = alone + crowd.inside
        await crowd.end()
        return found

    expected = ["ada"] * share
    assert run(inside()) == expected + (expected if places == 1 else [*expected, "bob"])


def test_a_heavy_call_enters_only_while_its_person_has_no_place(run: Run) -> None:
    async def inside() -> list[list[str]]:
        crowd = Crowd(8)
        await crowd.come("ada")
        await crowd.come("ada", "bob", heavy=True)
        before = list(crowd.inside)
        await crowd.leave("ada")
        return [before, crowd.inside]

    assert run(inside()) == [["ada", "bob"], ["bob", "ada"]]


@pytest.mark.parametrize("places", [1, 8])
def test_between_two_heavy_calls_a_person_rests(run: Run, places: int) -> None:
    """Meanwhile others enter."""

    async def inside() -> list[list[str]]:
        crowd = Crowd(places)
        await crowd.come("ada", "ada", "ada", heavy=True)
        await crowd.leave("ada", heavy=True)
        resting = list(crowd.inside)
        await crowd.come("bob", heavy=True)
        others = list(crowd.inside)
        await crowd.leave("bob", heavy=True)
        while "ada" not in crowd.inside:
            await asyncio.sleep(0.001)
        await crowd.leave("ada")
        found = [resting, others, crowd.inside]
        await crowd.end()
        return found

    # The last one follows at once, because the one before turned out to be small.
    assert run(inside()) == [[], ["bob"], ["ada"]]


def test_a_person_alone_with_a_heavy_call_need_not_rest(run: Run) -> None:
    async def inside() -> list[str]:
        crowd = Crowd(8)
        for _ in range(3):
            await crowd.come("ada", heavy=True)
            await crowd.leave("ada", heavy=True)
        await crowd.come("ada", heavy=True)
        return crowd.inside

    assert run(inside()) == ["ada"]


def test_nobody_overtakes_a_call_of_their_own(run: Run) -> None:
    """Or else small calls, one after the other, would keep a heavy one waiting for good."""

    async def inside() -> list[list[str]]:
        crowd = Crowd(8)
        await crowd.come("ada")
        await crowd.come("ada", heavy=True)
        await crowd.come("ada")
        before = list(crowd.inside)
        await crowd.leave("ada")
        heavy = list(crowd.inside)
        await crowd.end()
        return [before, heavy]

    assert run(inside()) == [["ada"], ["ada", "ada"]]


def test_when_a_heavy_call_gives_up_the_one_behind_it_enters(run: Run) -> None:
    async def inside() -> int:
        crowd = Crowd(8)
        await crowd.come("ada")
        await crowd.come("ada", heavy=True)
        await crowd.come("ada")
        await crowd.give_up(1)
        await asyncio.sleep(0)
        return len(crowd.inside)

    assert run(inside()) == 2


def test_a_full_queue_turns_away_the_latest_call_of_whoever_has_the_most(run: Run) -> None:
    async def refused() -> list[list[str]]:
        crowd = Crowd(1)
        await crowd.come(*["ada"] * (WAITING_PER_PLACE + 1))
        before = crowd.refused()
        await crowd.come("bob", "bob", "ada")
        await asyncio.sleep(0)
        after = crowd.refused()
        await crowd.end()
        return [before, after]

    assert run(refused()) == [[], ["ada", "ada", "ada"]]


def test_who_is_turned_away_learns_why(run: Run) -> None:
    async def fill() -> None:
        queue = FairQueue(1)
        await queue.enter("ada")
        waiting = [asyncio.create_task(queue.enter("ada")) for _ in range(WAITING_PER_PLACE)]
        await asyncio.sleep(0)
        with pytest.raises(DatabaseUnavailable, match=r"^too many calls wait for the database$"):
            await queue.enter("ada")
        for call in waiting:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    run(fill())


def test_who_is_given_a_place_and_leaves_at_that_moment_passes_it_on(run: Run) -> None:
    async def inside() -> list[str]:
        crowd = Crowd(1)
        await crowd.come("ada", "bob", "eve")
        crowd.inside.remove("ada")
        crowd.queue.leave("ada")
        await crowd.give_up(1)
        await asyncio.sleep(0)
        return crowd.inside

    assert run(inside()) == ["eve"]


def test_who_leaves_at_the_moment_of_a_turn_is_passed_over(run: Run) -> None:
    async def inside() -> list[str]:
        crowd = Crowd(1)
        await crowd.come("ada", "bob", "eve")
        crowd.calls[1][1].cancel()
        await crowd.leave("ada")
        await asyncio.sleep(0)
        return crowd.inside

    assert run(inside()) == ["eve"]


def test_a_call_cancelled_while_being_turned_away_is_only_cancelled(run: Run) -> None:
    async def inside() -> list[str]:
        crowd = Crowd(1)
        await crowd.come(*["ada"] * (WAITING_PER_PLACE + 1))
        crowd.calls[-1][1].cancel()
        crowd.calls.append(("bob", asyncio.create_task(crowd.queue.enter("bob"))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await crowd.leave("ada")
        found = list(crowd.inside)
        await crowd.end()
        return found

    assert run(inside()) == ["ada"]


def test_a_call_just_cancelled_makes_room(run: Run) -> None:
    """Cancelled in the same turn of the event loop in which somebody else finds the queue full."""

    async def inside() -> list[str]:
        crowd = Crowd(1)
        await crowd.come(*["ada"] * (WAITING_PER_PLACE + 1))
        crowd.calls[-1][1].cancel()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await crowd.queue.enter("bob")
        found = [*crowd.inside, *crowd.refused()]
        await crowd.end()
        return found

    assert run(inside()) == ["ada"]


Steps = Sequence[tuple[str, str, bool]]


@given(
    places=st.integers(1, 9),
    steps=st.lists(st.tuples(st.sampled_from(["come", "leave", "give up"]), st.sampled_from("abc"), st.booleans())),
)
def test_no_place_is_lost_and_none_is_given_twice(places: int, steps: Steps) -> None:
    async def play() -> tuple[list[int], int]:
        crowd = Crowd(places)
        counts = []
        for step, person, flag in steps:
            if step == "come":
                await crowd.come(person, heavy=flag)
            elif step == "leave" and person in crowd.inside:
                await crowd.leave(person)
            elif step == "give up":
                await crowd.give_up(*[n for n, (name, call) in enumerate(crowd.calls) if name == person][-1:])
            counts.append(len(crowd.inside))
        while crowd.inside:
            await crowd.leave(crowd.inside[0])
        await crowd.end()
        # As many people as there are places: each of them gets one.
        await crowd.come(*(f"person {number}" for number in range(places + 1)))
        left = len(crowd.inside)
        await crowd.end()
        return counts, left

    counts, left = asyncio.run(play())
    assert max(counts, default=0) <= places
    assert left == places


def test_places_are_used_up_before_anybody_waits(run: Run) -> None:
    async def sizes() -> list[int]:
        crowd = Crowd(4)
        found = []
        for person in "abcdef":
            await crowd.come(person)
            found.append(len(crowd.inside))
        await crowd.end()
        return found

    found = run(sizes())
    assert all(before <= after for before, after in pairwise(found))
    assert found == [1, 2, 3, 4, 4, 4]
