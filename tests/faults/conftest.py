"""Servers of a test's own: what is killed here is nobody else's."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.processes import KILL
from tests.support.servers import Postgres


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A PostgreSQL that may be stopped, frozen and killed."""
    with Postgres() as server:
        yield server


@pytest.fixture
def database(server: Postgres) -> str:
    return server.create_database()


@pytest.fixture
def kill(server: Postgres, database: str) -> Callable[[], Any]:
    """Have the server end all connections to the database, and wait for that; as many as it says."""

    async def kill() -> int:
        return int((await asyncio.to_thread(server.execute, database, KILL))[0][0])

    return kill
