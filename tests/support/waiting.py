"""Waiting for what other processes, threads and tasks do, for as long as a loaded machine may take."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until the condition holds. Raises `TimeoutError` when it never does."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
