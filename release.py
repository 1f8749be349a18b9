"""`python -m release` brings the tables up to date before a deployment starts its workers."""

import asyncio

from database import DEADLINE, Database, DatabaseUnavailable, Engine
from layout import prepare, upgrade
from settings import settings_or_exit


async def release(engine: Engine) -> None:
    """It may take minutes. Raises `DatabaseUnavailable`."""
    layout = await prepare(engine, DEADLINE)
    if layout.missing_indexes:
        await upgrade(engine)


def main() -> None:
    """Exit with a sentence when the settings are wrong or the tables cannot be brought up to date."""
    database = Database(settings_or_exit().database, pool_size=1, prepare=prepare)
    try:
        asyncio.run(release(database.engine))
    except DatabaseUnavailable as error:
        raise SystemExit(f"Cannot prepare the database: {error}") from None


if __name__ == "__main__":
    main()
