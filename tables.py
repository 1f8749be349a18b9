"""The tables and their indexes, as the newest version of them is. `migrations/` brings older ones to it."""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.types import UserDefinedType
from sqlmodel import (
    BigInteger,
    Column,
    Field,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    SQLModel,
    Table,
    Text,
    false,
    func,
    literal_column,
)


def now() -> datetime:
    return datetime.now(UTC)


class CountingId(UserDefinedType[int]):
    """SQLite's own counter, which must be the whole key. AUTOINCREMENT: the id of a deleted last row is not reused."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "INTEGER PRIMARY KEY AUTOINCREMENT"


class UserRow(SQLModel, table=True):
    """A user, as the latest token describes them. Only `id` identifies a user.

    Better Auth may add its own columns to this table, and then inserts rows without ours.
    """

    __tablename__ = "users"

    id: str = Field(primary_key=True, sa_type=Text)
    email: str | None = Field(default=None, unique=True, sa_type=Text)
    name: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(default_factory=now, sa_column_kwargs={"server_default": func.now()})


class TaskRow(SQLModel, table=True):
    __tablename__ = "tasks"

    id: int = Field(sa_type=BigInteger().with_variant(CountingId(), "sqlite"), sa_column_args=(Identity(),))
    user_id: str = Field(foreign_key="users.id", ondelete="CASCADE", sa_type=Text)
    title: str = Field(sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    completed: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    due_date: date | None = None
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)

    # The owner comes first, as everything that spreads a table over partitions or machines needs it.
    __table_args__ = (PrimaryKeyConstraint("user_id", "id").ddl_if(dialect="postgresql"),)


USERS: Table = SQLModel.metadata.tables["users"]
TASKS: Table = SQLModel.metadata.tables["tasks"]
# Those of an answer, and those of them that its owner gives.
TASK_COLUMNS = [column for column in TASKS.columns if column.name != "user_id"]
GIVEN_COLUMNS = [column for column in TASK_COLUMNS if column.name not in ("id", "created_at", "updated_at")]


def _owner() -> Column[str]:
    return Column("user_id", Text, ForeignKey(USERS.c.id, ondelete="CASCADE"), primary_key=True)


# The first answer to each request that may be sent again, with the task as it was. Without `id` there is none yet. Of
# many tasks that were made at once only `created_at` is kept, by which they are found, and of a change of many their
# number, as `id`.
IDEMPOTENCY_KEYS = Table(
    "idempotency_keys",
    SQLModel.metadata,
    _owner(),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("kept_at", TASKS.c.created_at.type, nullable=False),
    Column("id", BigInteger),
    *(Column(column.name, column.type) for column in TASK_COLUMNS if column.name != "id"),
)
# The time of each person's latest change, and up to which their deletions are forgotten.
CHANGE_CLOCKS = Table(
    "change_clocks",
    SQLModel.metadata,
    _owner(),
    Column("latest", TASKS.c.updated_at.type, nullable=False),
    Column("forgotten", TASKS.c.updated_at.type, nullable=False),
)
DELETED_TASKS = Table(
    "deleted_tasks",
    SQLModel.metadata,
    _owner(),
    Column("deleted_at", TASKS.c.updated_at.type, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
)
# By name, those referred to first. All but `users`, which another program may own, belong to this app alone.
TABLES: dict[str, Table] = {
    table.name: table for table in (USERS, TASKS, IDEMPOTENCY_KEYS, CHANGE_CLOCKS, DELETED_TASKS)
}

# The sort keys of `sort=title` and `sort=due_date`. Titles are compared by code point, whatever the collation of the
# database; `database.sqlite` adds the function and the collation to SQLite. Which letters have two cases depends on
# PostgreSQL's LC_CTYPE: under "C", those of ASCII. Both databases sort 'infinity' after every date.
UNDATED: ColumnElement[Any] = literal_column("'infinity'")
TITLE_KEY = func.lower(TASKS.c.title).collate("C")
DUE_DATE_KEY = func.coalesce(TASKS.c.due_date, UNDATED)

# Each serves the owner, one order and the keyset, and the second one the filter on `completed` too. The other orders
# filter while they scan, because another index on `completed` would make every toggle slower (bench/RESULTS.md).
Index("ix_tasks_user_id_created_at", TASKS.c.user_id, TASKS.c.created_at.desc(), TASKS.c.id.desc())
Index(
    "ix_tasks_user_id_completed",
    TASKS.c.user_id,
    TASKS.c.completed,
    TASKS.c.created_at.desc(),
    TASKS.c.id.desc(),
)
Index("ix_tasks_user_id_due_date", TASKS.c.user_id, DUE_DATE_KEY, TASKS.c.id)
# For what changed since.
Index("ix_tasks_user_id_updated_at", TASKS.c.user_id, TASKS.c.updated_at, TASKS.c.id)
INDEX_BY_TITLE = Index("ix_tasks_user_id_title", TASKS.c.user_id, TITLE_KEY, TASKS.c.id)


def indexes(dialect: str) -> list[Index]:
    """Those of tasks. None by title on SQLite, where `lower` is the app's own: others could not write to the table."""
    wanted = TASKS.indexes - ({INDEX_BY_TITLE} if dialect == "sqlite" else set())
    return sorted(wanted, key=lambda index: str(index.name))
