"""`python -m release` brings the tables up to date before a deployment starts its workers."""

import asyncio

from database import Database, DatabaseError, DatabaseUnavailable
from layout import build_indexes, prepare
from settings import settings_or_exit


async def release(database: Database) -> None:
    """Raises `DatabaseUnavailable`, or `DatabaseError` when an index cannot be built."""
    await database.ready()
    await build_indexes(database.engine, database.layout.missing_indexes)


def main() -> None:
    """Exit with a sentence when the settings are wrong or the tables cannot be brought up to date."""
    database = Database(settings_or_exit().database, pool_size=1, prepare=prepare)
    try:
        asyncio.run(release(database))
    except (DatabaseError, DatabaseUnavailable) as error:
        raise SystemExit(f"Cannot prepare the database: {error}") from None


if __name__ == "__main__":
    main()
