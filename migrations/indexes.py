"""Indexes are in no revision: those that `tables.py` has and the database lacks are built, for whatever reason."""

from collections.abc import Iterable

from sqlalchemy import Connection, text
from sqlalchemy.schema import CreateIndex

from tables import indexes

# An index is invalid when an attempt to build it concurrently was broken off.
VALID = (
    "SELECT c.relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid"
    " WHERE i.indisvalid AND i.indrelid = to_regclass('{table}')"
)
KIND = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass('tasks')"
PARTITIONS = "SELECT inhrelid, inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass('tasks')"


def build_missing(connection: Connection) -> None:
    """On PostgreSQL without keeping writers waiting."""
    statements = {
        str(index.name): str(CreateIndex(index).compile(dialect=connection.dialect))
        for index in indexes(connection.dialect.name)
    }
    if connection.dialect.name == "sqlite":
        return _build_on_sqlite(connection, statements)
    connection.commit()
    connection.execution_options(isolation_level="AUTOCOMMIT")
    kind = connection.scalar(text(KIND))
    for name in statements.keys() - _names(connection, VALID.format(table="tasks")):
        if kind == "r":
            _build(connection, name, "tasks", statements[name])
        elif kind == "p":
            _build_on_partitions(connection, name, statements[name])


def _names(connection: Connection, query: str) -> set[str]:
    return set(connection.scalars(text(query)))


def _build_on_sqlite(connection: Connection, statements: dict[str, str]) -> None:
    found = _names(connection, "SELECT name FROM sqlite_master WHERE type = 'index' AND lower(tbl_name) = 'tasks'")
    for name in statements.keys() - found:
        # It may be one of a table that was renamed.
        _run(connection, (f"DROP INDEX IF EXISTS {name}", statements[name]))


def _build_on_partitions(connection: Connection, name: str, statement: str) -> None:
    """Partition by partition. The index of the whole table then adopts these, in a moment.

    https://www.postgresql.org/docs/current/ddl-partitioning.html#DDL-PARTITIONING-DECLARATIVE-MAINTENANCE
    """
    for number, partition in connection.execute(text(PARTITIONS)).all():
        part = f"{name}_{number}"
        if part not in _names(connection, VALID.format(table=partition)):
            _build(connection, part, partition, statement.replace(name, part, 1))
    _run(connection, (statement,))


def _build(connection: Connection, name: str, table: str, statement: str) -> None:
    """https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY"""
    create = statement.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY").replace(" ON tasks ", f" ON {table} ", 1)
    _run(connection, (f"DROP INDEX CONCURRENTLY IF EXISTS {name}", create))


def _run(connection: Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(text(statement))
