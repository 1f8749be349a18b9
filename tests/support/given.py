"""An operator's own database, for `--database-url`: the app makes its tables in it, and in the end they are dropped."""

import os
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

import tables
from database.urls import POSTGRESQL_DRIVERS
from migrations import VERSION_TABLE

# All tables that tests make in the database that they are given. The later ones refer to the earlier ones.
TABLES = (*tables.TABLES, VERSION_TABLE, "tasks_of_yesterday", "things")
# Milliseconds. What is left of an earlier test ends within a moment.
DROP_TIMEOUT_MS = 30_000

OPTION = "--database-url"


class Given:
    """Raises `pytest.UsageError`, with a sentence, when it is unsuitable; then nothing has been changed.

    The password moves from the URL to a file of libpq's, because URLs are shown where a test fails.
    https://www.postgresql.org/docs/current/libpq-pgpass.html
    """

    def __init__(self, url: str) -> None:
        self._passfile: Path | None = None
        self.url = self._without_password(_parsed(url))
        try:
            self._schema = self._find_schema()
        except BaseException:
            self.close()
            raise

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run statements in autocommit, on a new connection, and give the last one's rows, if it has any."""
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def drop_tables(self) -> None:
        tables = ", ".join(f'{self._schema}."{table}"' for table in reversed(TABLES))
        self.execute(f"SET LOCAL lock_timeout = {DROP_TIMEOUT_MS}; DROP TABLE IF EXISTS {tables} CASCADE")

    def close(self) -> None:
        if self._passfile:
            self._passfile.unlink(missing_ok=True)

    def _without_password(self, url: URL) -> str:
        password = url.password or url.query.get("password")
        parts = {part: getattr(url, part) for part in ("username", "host", "port", "database", "query")}
        url = URL.create("postgresql", **parts).difference_update_query(["password"])
        if password:
            descriptor, name = tempfile.mkstemp(prefix="tasks-test-")
            self._passfile = Path(name)
            escaped = str(password).replace("\\", "\\\\").replace(":", "\\:")
            with open(descriptor, "w") as file:
                file.write(f"*:*:*:*:{escaped}\n")
            # It would have precedence over the file.
            os.environ.pop("PGPASSWORD", None)
            url = url.update_query_dict({"passfile": name})
        return url.render_as_string(hide_password=False)

    def _find_schema(self) -> str:
        """Where the app will create its tables."""
        names = ", ".join(f"'{table}'" for table in TABLES)
        try:
            ((schema, may_create),) = self.execute(
                "SELECT quote_ident(current_schema()), has_schema_privilege(current_schema(), 'CREATE')"
            )
            found = self.execute(f"SELECT n FROM unnest(ARRAY[{names}]) n WHERE to_regclass(n) IS NOT NULL")
        except psycopg2.Error as error:
            raise pytest.UsageError(f"{OPTION}: the database cannot be used: {str(error).splitlines()[0]}") from None
        if found:
            raise pytest.UsageError(
                f"{OPTION}: the database has {' and '.join(name for (name,) in found)} already, which this run would "
                "drop; nothing was changed. Give it an empty database, or drop what a run that was broken off has left."
            )
        if not may_create:
            raise pytest.UsageError(
                f"{OPTION}: the role may create tables in no schema of its search path; grant it CREATE on one."
            )
        return str(schema)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in POSTGRESQL_DRIVERS:
        raise pytest.UsageError(f"{OPTION} takes postgresql://user:password@host:port/database.")
    return parsed
