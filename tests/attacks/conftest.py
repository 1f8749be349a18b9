"""A live backend for all tests of a module, which logs all that it can; what it logs at INFO is among that."""

from collections.abc import Iterator

import pytest

from tests.attacks.live import Live, live
from tests.support.servers import Postgres


@pytest.fixture(scope="module")
def attacked(postgres: Postgres) -> Iterator[Live]:
    """After the last test of the module, its log has to be free of secrets."""
    name = postgres.create_database()
    with live(postgres.url(name), "DEBUG") as attacked:
        yield attacked
    postgres.drop_database(name)
