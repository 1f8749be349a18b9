"""Waiting in an event loop for what runs in a thread."""

import asyncio
import threading

import pytest

from database.loops import in_thread
from tests.database.conftest import Run
from tests.support.waiting import until


def test_what_the_function_raises_is_raised(run: Run) -> None:
    def fail(reason: str) -> None:
        raise ValueError(reason)

    with pytest.raises(ValueError, match=r"^no$"):
        run(in_thread(fail, "no"))


def test_the_function_goes_on_when_its_caller_is_cancelled(run: Run) -> None:
    begun, end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        end.wait(60)
        ended.set()

    async def cancel() -> None:
        waiting = asyncio.create_task(in_thread(work))
        await until(begun.is_set)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        end.set()
        await until(ended.is_set)
        # Its end is told to an event loop in which nobody waits for it.
        await asyncio.sleep(0.01)

    run(cancel())

    assert ended.is_set()


def test_the_function_goes_on_when_the_event_loop_is_closed() -> None:
    end = threading.Event()

    async def begin() -> threading.Thread:
        before = set(threading.enumerate())
        asyncio.create_task(in_thread(end.wait, 60))  # noqa: RUF006 - it is cancelled with the loop
        await asyncio.sleep(0)
        [thread] = set(threading.enumerate()) - before
        return thread

    thread = asyncio.run(begin())
    end.set()
    thread.join(60)

    assert (thread.is_alive(), thread.daemon) == (False, True)
