"""PostgreSQL with tasks in partitions by their owner, made before the app starts for the first time."""

from collections.abc import Iterator

from sqlalchemy import Dialect
from sqlalchemy.schema import CreateTable
from sqlmodel import MetaData

from migrations.comparison import Tables
from migrations.creation import creation
from tables import TABLES

PARTITIONS = 16


def partitioned(dialect: Dialect) -> Iterator[str]:
    """The statements, for one transaction: the model's own tables, keys and indexes, but for how tasks are stored."""
    metadata = MetaData()
    made = [table.to_metadata(metadata) for table in TABLES.values()]
    metadata.tables["tasks"].dialect_kwargs["postgresql_partition_by"] = "HASH (user_id)"
    for table in made:
        yield str(CreateTable(table).compile(dialect=dialect))
    for number in range(PARTITIONS):
        of = f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
        yield f"CREATE TABLE tasks_{number} PARTITION OF tasks {of}"
    # The indexes, which the partitions get too, and the version. The tables are there.
    yield from creation(dialect, Tables((), dialect))
