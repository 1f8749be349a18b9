"""The tables and their indexes."""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import ColumnElement
from sqlmodel import (
    BigInteger,
    Field,
    Identity,
    Index,
    Integer,
    SQLModel,
    Table,
    Text,
    false,
    func,
    literal_column,
)


def now() -> datetime:
    return datetime.now(UTC)


class User(SQLModel, table=True):
    """A person, as the latest token described them. Only `id` identifies anybody.

    Better Auth may be told to keep its own columns in this table, and then inserts only what it knows.
    """

    __tablename__ = "users"

    id: str = Field(primary_key=True, sa_type=Text)
    email: str | None = Field(default=None, unique=True, sa_type=Text)
    name: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(default_factory=now, sa_column_kwargs={"server_default": func.now()})


class Task(SQLModel, table=True):
    __tablename__ = "tasks"

    # SQLite gives the id of a deleted last row to the next one unless it is told to AUTOINCREMENT, which needs INTEGER.
    id: int = Field(
        primary_key=True,
        sa_type=BigInteger().with_variant(Integer, "sqlite"),
        sa_column_args=(Identity(),),
    )
    user_id: str = Field(foreign_key="users.id", ondelete="CASCADE", sa_type=Text)
    title: str = Field(sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    completed: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    due_date: date | None = None
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)

    __table_args__ = {"sqlite_autoincrement": True}


USERS: Table = SQLModel.metadata.tables["users"]
TASKS: Table = SQLModel.metadata.tables["tasks"]

# What `sort=title` and `sort=due_date` order by. Titles by code point, whatever the collation of the database, and on
# SQLite too, which `database.sqlite` teaches both words. What is one letter in two cases is PostgreSQL's LC_CTYPE;
# under "C" that is ASCII's alone. Undated tasks come after the last date, since both databases compare `'infinity'` so.
UNDATED: ColumnElement[Any] = literal_column("'infinity'")
TITLE_KEY = func.lower(TASKS.c.title).collate("C")
DUE_DATE_KEY = func.coalesce(TASKS.c.due_date, UNDATED)

# They serve the owner, the order and the keyset together, and the second one the filter too. The other two orders
# filter as they go: an index on the filter costs every toggle (bench/RESULTS.md).
Index("ix_tasks_user_id_created_at", TASKS.c.user_id, TASKS.c.created_at.desc(), TASKS.c.id.desc())
Index(
    "ix_tasks_user_id_completed",
    TASKS.c.user_id,
    TASKS.c.completed,
    TASKS.c.created_at.desc(),
    TASKS.c.id.desc(),
)
Index("ix_tasks_user_id_due_date", TASKS.c.user_id, DUE_DATE_KEY, TASKS.c.id)
# Not on SQLite, where `lower` is the app's own: no other program could write to a table with such an index.
INDEX_BY_TITLE = Index("ix_tasks_user_id_title", TASKS.c.user_id, TITLE_KEY, TASKS.c.id)
