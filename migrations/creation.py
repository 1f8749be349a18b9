"""The tables of a new database, made from the model: what all revisions together would make."""

from sqlalchemy import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from migrations import HEAD, VERSION_TABLE
from migrations.comparison import Tables
from migrations.locks import LOCK, LOCK_TIMEOUT_MS
from tables import TABLES, indexes

# Milliseconds to wait for the lock. Waiting for it blocks nobody else.
CREATE_TIMEOUT_MS = 3000

# The lock is one of the transaction, not of the session, so that it works through PgBouncer too.
LOCKED = (
    f"SET LOCAL lock_timeout = {CREATE_TIMEOUT_MS}",
    f"SELECT pg_advisory_xact_lock({LOCK})",
    f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}",
)
# What a change of a task changes too, so that it has to be on the same machine.
COLOCATED = [name for name in TABLES if name not in ("users", "tasks")]


def version_table(dialect: Dialect, schema: str | None = None) -> list[str]:
    """As Alembic makes it. The version is no secret, and a role that may only use the tables needs it.

    `schema` is an identifier as SQL takes it. Without one, the table goes where new tables go.
    """
    name = f"{schema}.{VERSION_TABLE}" if schema else VERSION_TABLE
    create = (
        f"CREATE TABLE IF NOT EXISTS {name} (version_num VARCHAR(32) NOT NULL,"
        f" CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
    )
    return [create] if dialect.name == "sqlite" else [create, f"GRANT SELECT ON {name} TO PUBLIC"]


def on_citus(*colocated: str) -> list[str]:
    """The statements, for one transaction, that spread users, tasks and these tables, each unless it is so already.

    https://docs.citusdata.com/en/stable/develop/reference_ddl.html
    """
    calls = {"users": "create_reference_table('users')", "tasks": "create_distributed_table('tasks', 'user_id')"}
    calls |= {name: f"create_distributed_table('{name}', 'user_id', colocate_with => 'tasks')" for name in colocated}
    return [
        # One shard after the other, because the tables were made in the same transaction.
        "SET LOCAL citus.multi_shard_modify_mode TO 'sequential'",
        "SET LOCAL citus.enable_local_reference_table_foreign_keys TO off",
        *(
            f"SELECT {call} WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = '{name}'::regclass)"
            for name, call in calls.items()
        ),
    ]


def creation(dialect: Dialect, tables: Tables) -> list[str]:
    """The statements that create what is missing, for one transaction, whoever else runs them at the same time.

    IF NOT EXISTS is for those others. It does not see tables in other schemas of the search path; `tables` does.
    """
    ddl: list[ExecutableDDLElement] = [CreateTable(table, if_not_exists=True) for table in tables.missing]
    ddl += [CreateIndex(index, if_not_exists=True) for index in indexes(dialect.name)]
    statements = [str(element.compile(dialect=dialect)) for element in ddl]
    if tables.is_new and tables.version is None:
        stamp = f"INSERT INTO {VERSION_TABLE} SELECT '{HEAD}' WHERE NOT EXISTS (SELECT * FROM {VERSION_TABLE})"
        statements += [*version_table(dialect), stamp]
    if tables.is_new and tables.on_citus:
        statements += on_citus(*COLOCATED)
    return statements if dialect.name == "sqlite" else [*LOCKED, *statements]
