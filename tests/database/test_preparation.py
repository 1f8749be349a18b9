"""Making sure of the tables: one attempt at a time, with an end, and pauses after those that failed."""

import asyncio

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


def test_an_attempt_ends_with_its_deadline_and_the_next_may_succeed(run: Run) -> None:
    answers = [asyncio.Event(), None]

    async def hang_once(_: float) -> str:
        event = answers.pop(0)
        if event:
            await event.wait()
        return "ready"

    async def calls() -> object:
        preparation = Preparation(hang_once, 0.1)
        with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.1 seconds"):
            await preparation.run()
        await preparation.run()
        return preparation.done, preparation.result

    assert run(calls()) == (True, "ready")
