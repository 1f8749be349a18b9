"""Making sure of the tables: one attempt at a time, with an end, and pauses after those that failed."""

import asyncio
from contextlib import nullcontext

import pytest

from database import DatabaseUnavailable, NotPrepared
from database.preparation import Preparation
from tests.database.conftest import Run


def test_after_a_refusal_there_is_a_pause_and_everybody_hears_why(run: Run) -> None:
    attempts = 0

    async def refuse(_: float) -> None:
        nonlocal attempts
        attempts += 1
        raise NotPrepared("the table users belongs to another program")

    async def calls() -> list[BaseException | None]:
        preparation = Preparation(refuse, 5.0)
        together = await asyncio.gather(*(preparation.run() for _ in range(3)), return_exceptions=True)
        return [*together, *await asyncio.gather(preparation.run(), return_exceptions=True)]

    found = run(calls())

    assert [str(error) for error in found] == ["the table users belongs to another program"] * 4
    assert {type(error) for error in found} == {NotPrepared}
    # One for each: the traceback of a shared one would grow with everybody who raises it.
    assert len({id(error) for error in found}) == 4
    assert attempts == 1


def test_callers_wait_until_the_deadline_for_an_attempt_that_takes_longer(run: Run) -> None:
    """As when older tables are brought up to date. It goes on, and nobody begins another one."""
    attempts = 0

    async def calls() -> object:
        end = asyncio.Event()

        async def take_long(_: float) -> str:
            nonlocal attempts
            attempts += 1
            await end.wait()
            return "ready"

        preparation = Preparation(take_long, 0.1)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable, match=r"^no answer within 0\.1 seconds$"):
                await preparation.run()
        end.set()
        await preparation.run()
        return attempts, preparation.done, preparation.result

    assert run(calls()) == (1, True, "ready")


def test_a_failure_is_followed_by_pauses_that_grow(run: Run) -> None:
    now, attempts = 0.0, []

    async def prepare(_: float) -> None:
        attempts.append(now)
        raise NotPrepared("no")

    preparation = Preparation(prepare, 1.0, clock=lambda: now)
    while now < 50:
        with pytest.raises(NotPrepared, match=r"^no$"):
            run(preparation.run())
        now += 0.25

    assert attempts == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 25.5, 35.5, 45.5]


def test_after_a_success_pauses_begin_anew(run: Run) -> None:
    now, ends = 0.0, iter(["no", "no", "", "no", "no"])

    async def prepare(_: float) -> str:
        if end := next(ends):
            raise NotPrepared(end)
        return "done"

    preparation = Preparation(prepare, 1.0, clock=lambda: now)
    for at in (0.0, 0.5, 1.5):
        now = at
        with pytest.raises(NotPrepared) if at < 1.5 else nullcontext():
            run(preparation.run())
    assert (preparation.done, preparation.result) == (True, "done")
    for at in (2.0, 2.5):
        now = at
        with pytest.raises(NotPrepared):
            run(preparation.run())
    assert next(ends, None) is None
