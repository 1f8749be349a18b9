"""The tables and their indexes."""

from datetime import UTC, date, datetime

from sqlalchemy import BigInteger, Identity, Index, Integer, Table, Text, false, func
from sqlmodel import Field, SQLModel


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

# They serve the filter, the default order and the keyset together.
Index("ix_tasks_user_id_created_at", TASKS.c.user_id, TASKS.c.created_at.desc(), TASKS.c.id.desc())
Index(
    "ix_tasks_user_id_completed",
    TASKS.c.user_id,
    TASKS.c.completed,
    TASKS.c.created_at.desc(),
    TASKS.c.id.desc(),
)
