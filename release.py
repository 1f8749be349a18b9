"""`python -m release` creates the tables, so that a deployment has them before its first worker starts."""

import asyncio

import store
from database import Database, DatabaseUnavailable
from settings import settings_or_exit
from tables import create_tables


def main() -> None:
    """Exits with a sentence when the settings are wrong or the database cannot be reached."""
    database = Database(settings_or_exit().database, pool_size=1, prepare=create_tables)
    try:
        asyncio.run(database.run(store.ping))
    except DatabaseUnavailable as error:
        raise SystemExit(f"Cannot create the tables: {error}") from None


if __name__ == "__main__":
    main()
