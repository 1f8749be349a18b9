"""What a database may answer instead of rows, whichever database it is."""

from typing import Any

# PostgreSQL's SQLSTATE of a missing permission, at the end of a message.
NOT_ALLOWED = "42501"


class DatabaseUnavailable(Exception):
    """The database is unreachable, hung or not usable, or too many calls wait for it. The message is for the log."""


class Overtaken(DatabaseUnavailable):
    """PostgreSQL rolled the statement back (serialization failure or deadlock); it may be run again."""


class TablesMissing(DatabaseUnavailable):
    """A table or a column that existed at start was removed or changed."""


class NotPrepared(DatabaseUnavailable):
    """The tables are missing or have another layout, and cannot be changed. The message is for whoever operates it."""


class DatabaseError(Exception):
    """The database refuses a statement. The message never holds what people wrote: neither values nor rows."""


class Conflict(DatabaseError):
    """A constraint refuses the values: a unique key, a foreign key, or NOT NULL."""


class ParentMissing(Conflict):
    """A foreign key refuses the values: the row that they belong to is gone."""


class DuplicateId(Conflict):
    """On PostgreSQL: another row has the primary key of a new one already."""


class InvalidData(DatabaseError):
    """A value does not fit: too long for its column, or a character that the encoding of the database lacks."""


def message_of(error: Any) -> str:
    """A driver's error in one line, with its SQLSTATE. PostgreSQL's DETAIL, which shows the row, stays out."""
    code = getattr(error, "pgcode", None)
    primary = getattr(getattr(error, "diag", None), "message_primary", None) or str(error).strip().partition("\n")[0]
    return f"{primary} ({code})" if code else primary
