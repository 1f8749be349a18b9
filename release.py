"""`python -m release` brings the tables up to date before a deployment starts its workers."""

import asyncio
import sys
from collections.abc import Sequence

from database import DEADLINE, Database, DatabaseError, DatabaseUnavailable, Engine
from migrations.distribution import distribute
from migrations.layout import prepare, upgrade
from settings import settings_or_exit

USAGE = """Usage: python -m release [--distribute]. It brings the tables of DATABASE_URL up to date.
--distribute then spreads a filled table of tasks over the machines of Citus; see docs/scaling.md."""


async def release(engine: Engine) -> str:
    """Give the version that the tables have in the end. It may take minutes. Raises `DatabaseUnavailable`."""
    layout = await prepare(engine, DEADLINE)
    if layout.missing_indexes:
        await upgrade(engine)
    return layout.version


def main(arguments: Sequence[str] = ()) -> None:
    """Exit with a sentence when the settings are wrong or the tables cannot be brought up to date."""
    if list(arguments) not in ([], ["--distribute"]):
        raise SystemExit(USAGE)
    url = settings_or_exit().database
    try:
        version = asyncio.run(release(Database(url, pool_size=1, prepare=prepare).engine))
        if arguments:
            distribute(url)
    except (DatabaseError, DatabaseUnavailable) as error:
        raise SystemExit(f"Cannot prepare the database: {error}") from None
    sys.stderr.write(f"The tables are of version {version}.\n")


if __name__ == "__main__":
    main(sys.argv[1:])
