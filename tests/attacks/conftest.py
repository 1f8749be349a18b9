"""A live backend for all tests of a module, at both log levels."""

from collections.abc import Iterator

import pytest

from tests.attacks.live import Live, live
from tests.support.servers import Postgres


@pytest.fixture(scope="module", params=["DEBUG", "INFO"])
def attacked(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[Live]:
    """After the last test of the module, its log has to be free of secrets."""
    name = postgres.create_database()
    with live(postgres.url(name), request.param) as attacked:
        yield attacked
    postgres.drop_database(name)
