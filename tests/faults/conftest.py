"""A server for the tests of faults alone: what is killed here is nobody else's."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.processes import KILL
from tests.support.servers import Postgres


@pytest.fixture(scope="session")
def mortal() -> Iterator[Postgres]:
    """A PostgreSQL that may be stopped, frozen and killed; no other tests use it."""
    with Postgres() as mortal:
        yield mortal


@pytest.fixture
def database(mortal: Postgres) -> Iterator[str]:
    """One of the mortal server, which lives at the beginning and in the end, whatever a test did."""
    mortal.ensure()
    name = mortal.create_database()
    yield name
    mortal.ensure()
    mortal.drop_database(name)


@pytest.fixture
def kill(mortal: Postgres, database: str) -> Callable[[], Any]:
    """Have the server end all connections to the database, and wait for that; as many as it says."""

    async def kill() -> int:
        return int((await asyncio.to_thread(mortal.execute, database, KILL))[0][0])

    return kill
