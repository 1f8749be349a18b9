"""Spreads a table that is already filled over the machines of Citus, while its writers go on."""

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from database.errors import DatabaseError, message_of
from migrations.creation import COLOCATED
from migrations.locks import engine_of, exclusively

HAS_CITUS = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
# Whether it is a reference table, and distributed by hash. An attempt that is broken off leaves a table in the metadata
# that is neither; it can be repeated.
HAS_USERS = "SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'users'::regclass AND repmodel = 't')"
IS_DISTRIBUTED = (
    "SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = '{table}'::regclass AND partmethod = 'h')"
)


def distribute(url: URL) -> None:
    """Make `users` a reference table, and distribute `tasks` by its owner, each unless it is so already.

    Needs Citus 11.1 or newer, `wal_level = logical` on all nodes and the coordinator among its own nodes. Writers of
    `users`, which are sign-ups, wait while it is copied; those of `tasks` for a moment at the end.
    https://docs.citusdata.com/en/stable/develop/api_udf.html#create-distributed-table-concurrently
    Raises `DatabaseError`, with a sentence.
    """
    if url.get_backend_name() == "sqlite":
        raise DatabaseError("SQLite keeps its tables in one file; only PostgreSQL with Citus spreads them")
    try:
        with exclusively(engine_of(url)) as connection:
            _distribute(connection.execution_options(isolation_level="AUTOCOMMIT"))
    except DBAPIError as error:
        raise DatabaseError(message_of(error.orig or error)) from None


def _distribute(connection: Connection) -> None:
    if not connection.scalar(text(HAS_CITUS)):
        raise DatabaseError("this database has no extension citus; create it on every node first")
    if not connection.scalar(text(HAS_USERS)):
        # The foreign key of `tasks` goes on being checked: `tasks` becomes a local table of Citus meanwhile.
        connection.execute(text("SELECT create_reference_table('users')"))
    if not connection.scalar(text(IS_DISTRIBUTED.format(table="tasks"))):
        connection.execute(text("SELECT create_distributed_table_concurrently('tasks', 'user_id')"))
    for name in COLOCATED:
        if not connection.scalar(text(IS_DISTRIBUTED.format(table=name))):
            call = f"create_distributed_table_concurrently('{name}', 'user_id', colocate_with => 'tasks')"
            connection.execute(text(f"SELECT {call}"))
