"""The creates of one person in a process: they wait for one count, and for no longer than they may."""

import asyncio

import pytest
from sqlalchemy import make_url
from starlette.exceptions import HTTPException

import store
import web.task_limit
from database import Caller, Database, DatabaseUnavailable
from migrations.layout import prepare
from tests.support.waiting import until
from web.task_limit import TaskLimit


class Counting:
    """Stands for `store.count_tasks`. It waits in it while `go_on` is clear."""

    def __init__(self) -> None:
        self.found = self.asked = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, *_: object) -> int:
        self.asked += 1
        await self.go_on.wait()
        return self.found


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting()
    monkeypatch.setattr(store, "count_tasks", counting)
    return counting


def caller(deadline: float = 60.0) -> Caller:
    """One that executes nothing, since the counts are stood in for."""
    return Database(make_url("sqlite://"), pool_size=1, prepare=prepare, deadline=deadline).caller("")


async def admit(limit: TaskLimit, person: str = "ada", deadline: float = 60.0) -> int:
    try:
        async with limit.admitted(caller(deadline), person):
            return 201
    except HTTPException as refused:
        return refused.status_code


def test_who_waits_behind_a_count_that_hangs_waits_no_longer_than_the_deadline(
    counting: Counting,
) -> None:
    limit = TaskLimit(320, lambda: 0.0)
    counting.go_on.clear()

    async def several() -> tuple[list[str], int, int, int]:
        first = asyncio.create_task(admit(limit))
        await until(lambda: counting.asked == 1)
        others = asyncio.gather(*(admit(limit, deadline=0.01) for _ in range(3)), return_exceptions=True)
        given_up = await asyncio.wait_for(others, 60)
        counting.go_on.set()
        return [repr(error) for error in given_up], await first, await admit(limit), counting.asked

    error = repr(DatabaseUnavailable("no answer within 0.01 seconds"))
    assert asyncio.run(several()) == ([error] * 3, 201, 201, 1)


def test_a_delete_during_a_count_makes_the_next_create_count_again(counting: Counting) -> None:
    limit = TaskLimit(3, lambda: 0.0)
    counting.found = 3
    counting.go_on.clear()

    async def delete_during_the_count() -> tuple[int, int, int]:
        create = asyncio.create_task(admit(limit))
        await until(lambda: counting.asked == 1)
        limit.deleted("ada")
        counting.go_on.set()
        before = await create
        counting.found = 2
        return before, await admit(limit), counting.asked

    assert asyncio.run(delete_during_the_count()) == (403, 201, 2)


def test_a_delete_leaves_a_count_that_admits_as_it_is(counting: Counting) -> None:
    limit = TaskLimit(320, lambda: 0.0)

    async def delete_in_between() -> tuple[int, int, int]:
        limit.deleted("ada")
        first = await admit(limit)
        limit.deleted("ada")
        return first, await admit(limit), counting.asked

    assert asyncio.run(delete_in_between()) == (201, 201, 1)


def test_nobody_is_forgotten_while_they_create(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else their create would be under way uncounted."""
    limit = TaskLimit(320, lambda: 0.0)
    monkeypatch.setattr(web.task_limit, "REMEMBERED_PEOPLE", 1)

    async def another_in_between() -> tuple[int, int, int]:
        async with limit.admitted(caller(), "ada"):
            other = await admit(limit, "bob")
            return other, await admit(limit), counting.asked

    assert asyncio.run(another_in_between()) == (201, 201, 2)
