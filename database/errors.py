"""What a database may answer instead of rows, whichever database it is."""

import sqlite3

import psycopg2

# https://www.postgresql.org/docs/current/errcodes-appendix.html
READ_ONLY = "25006"
NOT_ALLOWED = "42501"
# A table, a column or a schema that is not there, and a column of a type with which a statement makes no sense.
UNDEFINED = {"42P01", "42703", "3F000", "42804", "42883"}
TO_BE_REPEATED = {"40001", "40P01"}
INVALID_DATA, CONSTRAINT = "22", "23"


class DatabaseUnavailable(Exception):
    """The database is unreachable, hung or not usable, or too many calls wait for it. The message is for the log."""


class Overtaken(DatabaseUnavailable):
    """The statement did nothing, because of others at the same time; it may be run again."""


class TablesMissing(DatabaseUnavailable):
    """A table or a column that was there at start is not there any more, or is another one now."""


class NotPrepared(DatabaseUnavailable):
    """The tables are missing or have another layout, and cannot be changed. The message is for whoever operates it."""


class DatabaseError(Exception):
    """The database refuses a statement. The message never holds what people wrote: neither values nor rows."""


class Conflict(DatabaseError):
    """A constraint refuses the values: a key that is there already or is not there, or a value that is required."""


class InvalidData(DatabaseError):
    """A value does not fit: too long for its column, or a character that the encoding of the database lacks."""


def of_postgresql(error: psycopg2.Error) -> Exception:
    """The error in our terms: SQLSTATE and primary message. PostgreSQL's DETAIL, which shows the row, stays out."""
    code = error.pgcode or ""
    primary = error.diag.message_primary or str(error).strip().partition("\n")[0]
    return _postgresql_class(error, code)(f"{primary} ({code})" if code else primary)


def _postgresql_class(error: psycopg2.Error, code: str) -> type[Exception]:
    if code in TO_BE_REPEATED:
        return Overtaken
    if code in UNDEFINED:
        return TablesMissing
    if code.startswith(INVALID_DATA):
        return InvalidData
    if code.startswith(CONSTRAINT):
        return Conflict
    # psycopg2 calls a read-only server internal, and a missing permission a mistake of programming.
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or code in (READ_ONLY, NOT_ALLOWED):
        return DatabaseUnavailable
    # A connection that ends in the middle of an answer has no code at all.
    return DatabaseError if code or isinstance(error, psycopg2.ProgrammingError) else DatabaseUnavailable


def of_sqlite(error: sqlite3.Error) -> Exception:
    """The error in our terms. SQLite's messages name tables and columns, never values."""
    message = str(error)
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict(message)
    # SQLite calls everything operational, a statement that is wrong too.
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        gone = message.startswith(("no such table", "no such column")) or "has no column" in message
        return TablesMissing(message) if gone else DatabaseError(message)
    broken = getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
    return (DatabaseUnavailable if broken or isinstance(error, sqlite3.OperationalError) else DatabaseError)(message)
