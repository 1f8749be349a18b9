"""How Alembic reaches the database: for `migrations.upgrade`, and for the command `alembic` of a maintainer."""

from typing import Any

from alembic import context
from sqlalchemy import Connection, inspect, text

from database.errors import NOT_ALLOWED, DatabaseError
from migrations import LEAVING, VERSION_TABLE
from migrations.creation import version_table
from migrations.indexes import build_missing
from migrations.locks import engine_of, exclusively
from settings import settings_or_exit
from tables import USERS

SCHEMA = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('tasks')"
# What this role may not change. Nothing has to be changed about a view.
NOT_OWNED = (
    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT pg_has_role(relowner, 'USAGE')"
    f" AND oid IN (to_regclass('tasks'), to_regclass('{VERSION_TABLE}')) ORDER BY relname"
)


def run(connection: Connection) -> None:
    # First, so that a role whose upgrade would fail half-way leaves nothing that the owner could not change.
    if connection.dialect.name == "postgresql" and (table := connection.scalar(text(NOT_OWNED))):
        raise DatabaseError(f"must be owner of table {table} ({NOT_ALLOWED})")
    if not inspect(connection).has_table(VERSION_TABLE):
        # Beside `tasks`, wherever the search path finds it.
        schema = None if connection.dialect.name == "sqlite" else connection.scalar(text(SCHEMA))
        for statement in version_table(connection.dialect, schema):
            connection.execute(text(statement))
    if connection.dialect.name == "postgresql":
        # Each revision is a transaction; on SQLite all of them are one.
        connection.commit()
    context.configure(
        connection=connection,
        target_metadata=USERS.metadata,
        version_table=VERSION_TABLE,
        include_object=is_compared,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def is_compared(item: Any, name: str | None, kind: str, *_: Any) -> bool:
    """What `alembic check` compares with the model: neither other tables, nor indexes, nor columns that leave."""
    if kind == "column":
        return (item.table.name, name) not in LEAVING
    return kind != "index" and (kind != "table" or name in USERS.metadata.tables)


engine = engine_of(context.config.attributes.get("url") or settings_or_exit().database)
with exclusively(engine) as connection:
    run(connection)
    build_missing(connection)
