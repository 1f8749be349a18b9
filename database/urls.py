"""DATABASE_URL as SQLAlchemy takes it."""

from pathlib import Path

from psycopg2 import ProgrammingError
from psycopg2.extensions import make_dsn
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

POSTGRESQL_DRIVERS = {"postgresql", "postgres", "postgresql+psycopg2"}
SQLITE = "sqlite+pysqlite"
SQLITE_DRIVERS = {"sqlite", SQLITE}
# Names of a database in memory, which ends with its connection.
IN_MEMORY = (None, "", ":memory:")


def url_with_driver(text: str) -> URL:
    """The URL with its driver named and all parameters untouched.

    Raises `ValueError` with a sentence, which holds no password, for one that cannot be used.
    """
    try:
        url = make_url(text)
        # The rest of a password that holds an @, which messages about the host would show.
        if "@" in (url.host or ""):
            raise ValueError
    except (ArgumentError, ValueError):
        # Not the value itself: it may hold a password.
        raise ValueError(
            "DATABASE_URL cannot be read; write it as postgresql://user:password@host/name or sqlite:///./todo.db "
            "(characters such as @ and / in a password are percent-encoded)."
        ) from None
    if url.drivername in POSTGRESQL_DRIVERS:
        # SQLAlchemy 2.1 reads a bare postgresql:// as psycopg 3.
        return _check_postgresql(url.set(drivername="postgresql+psycopg2"))
    if url.drivername in SQLITE_DRIVERS:
        return _check_sqlite(url.set(drivername=SQLITE))
    raise ValueError(
        f"DATABASE_URL names the database kind {url.drivername!r}; use postgresql:// (or postgres://) or sqlite:///."
    )


def is_in_memory(url: URL) -> bool:
    """Whether it is SQLite without a file."""
    return url.drivername == SQLITE and url.database in IN_MEMORY


def _check_postgresql(url: URL) -> URL:
    try:
        arguments, options = url.get_dialect()().create_connect_args(url)
        make_dsn(*arguments, **options)
    except (ArgumentError, ProgrammingError, ValueError) as error:
        # libpq names the faulty part alone, and so never a correct password.
        raise ValueError(f"DATABASE_URL is refused by PostgreSQL's client: {str(error).strip()}.") from None
    return url


def _check_sqlite(url: URL) -> URL:
    file = url.database or ""
    if url != URL.create(url.drivername, database=url.database) or file.startswith("file:"):
        # Options and URIs can select one in-memory database per connection. In `sqlite://todo.db` the name is a host.
        raise ValueError(
            "DATABASE_URL names SQLite with more than a path; write it as sqlite:///./todo.db, "
            "sqlite:////data/todo.db, or sqlite:// for one in memory."
        )
    folder = Path(file).parent
    if "\0" in file or (Path(file).is_dir() and file):
        raise ValueError("DATABASE_URL names no file for SQLite; write it as sqlite:///./todo.db.")
    if not folder.is_dir():
        raise ValueError(f"DATABASE_URL names a SQLite file in {folder}, which is not a folder; create it first.")
    return url
