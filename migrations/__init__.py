"""The versions of the tables, as revisions of Alembic, which is imported only when a database is to be changed."""

import sys
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from database.errors import DatabaseError, message_of

# The newest revision. The number before its point counts the releases that changed the tables.
HEAD = "4"

# Tables and columns that no code uses any more and a later revision drops: they are not in `tables.py`, and `alembic`
# leaves them alone.
LEAVING: set[tuple[str, str]] = set()

# Its one row names the revision of the tables. Not `alembic_version`, which another program may have beside ours.
VERSION_TABLE = "todo_schema_version"


def _number(version: str) -> tuple[int, ...]:
    """What orders versions. One that cannot be read is newer than all others."""
    parts = version.split(".")
    return tuple(map(int, parts)) if all(map(str.isdecimal, parts)) else (sys.maxsize,)


def is_behind(version: str | None) -> bool:
    """Whether tables of this version are to be changed; None is for those from before they had versions."""
    return version is None or _number(version) < _number(HEAD)


def is_too_new(version: str) -> bool:
    """Whether tables of this version are more than one release ahead of this code.

    Those of the next release have all that this one needs, so that both can serve during a deployment.
    """
    return _number(version)[0] > _number(HEAD)[0] + 1


def upgrade(url: URL) -> None:
    """Bring the tables of this database to `HEAD` and build missing indexes, which may take minutes.

    Safe when several processes do it at once. Raises `DatabaseError`, with a sentence.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["url"] = url
    try:
        command.upgrade(config, "head")
    except DBAPIError as error:
        raise DatabaseError(message_of(error.orig or error)) from None
    except CommandError as error:
        unknown = f"{VERSION_TABLE} names a version that this code does not know ({error})"
        raise DatabaseError(f"{unknown}; deploy the code that made the tables") from None
