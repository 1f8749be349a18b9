"""The tables of a new database, made from the model: what all revisions together would make."""

from sqlalchemy import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from migrations import HEAD, VERSION_TABLE
from migrations.locks import LOCK, LOCK_TIMEOUT_MS
from tables import TASKS, USERS, indexes

# Milliseconds to wait for the lock. Waiting for it blocks nobody else.
CREATE_TIMEOUT_MS = 3000

# The lock is one of the transaction, not of the session, so that it works through PgBouncer too.
LOCKED = (
    f"SET LOCAL lock_timeout = {CREATE_TIMEOUT_MS}",
    f"SELECT pg_advisory_xact_lock({LOCK})",
    f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}",
)
# Each only where it is not so yet. One shard after the other, because the tables were made in the same transaction.
# https://docs.citusdata.com/en/stable/develop/reference_ddl.html
ON_CITUS = (
    "SET LOCAL citus.multi_shard_modify_mode TO 'sequential'",
    "SET LOCAL citus.enable_local_reference_table_foreign_keys TO off",
    *(
        f"SELECT {call} WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = '{table}'::regclass)"
        for table, call in (
            ("users", "create_reference_table('users')"),
            ("tasks", "create_distributed_table('tasks', 'user_id')"),
        )
    ),
)


def version_table(dialect: Dialect) -> list[str]:
    """As Alembic makes it. The version is no secret, and a role that may only use the tables needs it."""
    create = (
        f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL,"
        f" CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
    )
    return [create] if dialect.name == "sqlite" else [create, f"GRANT SELECT ON {VERSION_TABLE} TO PUBLIC"]


def creation(dialect: Dialect, *, new: bool, citus: bool) -> list[str]:
    """The statements that create what is missing, for one transaction, whoever else runs them at the same time.

    `new`: the table `tasks` is missing. `citus`: the database has that extension.
    """
    ddl: list[ExecutableDDLElement] = [CreateTable(table, if_not_exists=True) for table in (USERS, TASKS)]
    ddl += [CreateIndex(index, if_not_exists=True) for index in indexes(dialect.name)]
    statements = [str(element.compile(dialect=dialect)) for element in ddl]
    if new:
        stamp = f"INSERT INTO {VERSION_TABLE} SELECT '{HEAD}' WHERE NOT EXISTS (SELECT * FROM {VERSION_TABLE})"
        statements += [*version_table(dialect), stamp, *(ON_CITUS if citus else ())]
    return statements if dialect.name == "sqlite" else [*LOCKED, *statements]
