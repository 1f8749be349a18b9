"""Synchronous functions that wait for the event loop without a thread."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]


def wait_for(awaitable: Awaitable[Any]) -> Any:
    """The result of the awaitable, inside a function that a `Worker` runs; the event loop goes on meanwhile."""
    return getcurrent().parent.switch(awaitable)


class Worker:
    """A greenlet that runs one function after the other.

    A new one for each, as SQLAlchemy's `greenlet_spawn` makes, costs two system calls for its stack.
    """

    def __init__(self) -> None:
        self._greenlet = greenlet(_serve)

    async def run(self, function: Callable[[], Any]) -> Any:
        step = self._greenlet.switch([function])
        while not isinstance(step, _Outcome):
            try:
                value = await step
            except BaseException:
                step = self._greenlet.throw(*sys.exc_info())
            else:
                step = self._greenlet.switch(value)
        result, error = step.result, step.error
        step.result = step.error = None
        if error is not None:
            raise error
        return result


def _serve(call: list[Callable[[], Any]]) -> None:
    """Between two calls it keeps nothing of the last: no garbage collector sees into a greenlet that waits.

    What led from here to the connection, whose worker this is, would never be freed.
    """
    parent = getcurrent().parent
    while True:
        outcome = _Outcome()
        try:
            outcome.result = call.pop()()
        except BaseException as error:
            outcome.error = error
        call = parent.switch(outcome)


class _Outcome:
    """How a function ended."""

    __slots__ = ("error", "result")

    def __init__(self) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
