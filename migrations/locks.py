"""One upgrade of a database at a time, and none that keeps others waiting."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2.errors import LockNotAvailable
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import OperationalError

from database.pool import KEEPALIVES

# The key of the advisory lock that every process takes before it changes tables; any 64-bit number.
LOCK = 0x7461736B73

# Seconds between two attempts to get the advisory lock, and to get a lock on a table in use.
PAUSE, TABLE_PAUSE = 0.1, 2.0
# Seconds that others of SQLite's file may hold it.
FILE_TIMEOUT = 600
# Milliseconds to wait for a lock on a table. Waiting for one blocks everybody else who uses the table.
LOCK_TIMEOUT_MS = 500
# Attempts to get such a lock.
ATTEMPTS = 150
# The limits that a role or a database may have on how long something takes. An upgrade of large tables takes longer.
LIFT_LIMITS = (
    "SELECT set_config(name, '0', {local}) FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout',"
    " 'idle_in_transaction_session_timeout', 'transaction_timeout')"
)


def engine_of(url: URL) -> Engine:
    """An engine of SQLAlchemy's own, for the thread or process that does the upgrade."""
    if url.get_backend_name() == "sqlite":
        # Python's sqlite3 begins no transaction before DDL by itself.
        engine = create_engine(url, poolclass=NullPool, connect_args={"isolation_level": None, "timeout": FILE_TIMEOUT})
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        return engine
    connect_args = {"connect_timeout": 5, **KEEPALIVES}
    # Other levels keep a snapshot until the transaction ends, for which CREATE INDEX CONCURRENTLY waits.
    engine = create_engine(url, poolclass=NullPool, isolation_level="READ COMMITTED", connect_args=connect_args)
    event.listen(engine, "connect", _lift_limits_of_session)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(LIFT_LIMITS.format(local=True)))
    return engine


def _lift_limits_of_session(connection: Any, _: object) -> None:
    """Also for what runs outside of transactions; not through a pooler, which would give the settings to others.

    A pooler is known by its number of the process, which is none of PostgreSQL's.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        if cursor.fetchone() == (connection.info.backend_pid,):
            cursor.execute(LIFT_LIMITS.format(local=False))


@contextmanager
def exclusively(engine: Engine) -> Iterator[Connection]:
    """A connection, while no other process upgrades the same database. On SQLite it is in one transaction throughout.

    PostgreSQL's lock is held by the transaction of a second connection, because PgBouncer in transaction mode allows no
    lock of a session, and CREATE INDEX CONCURRENTLY no transaction of its own. Nobody waits in a statement: that would
    have a snapshot, for whose end CREATE INDEX CONCURRENTLY waits in turn.
    """
    if engine.dialect.name == "sqlite":
        with engine.begin() as connection:
            yield connection
        return
    with engine.connect() as holder:
        while not holder.scalar(text(f"SELECT pg_try_advisory_xact_lock({LOCK})")):
            # Ends the transaction, so that PgBouncer has its connection back.
            holder.rollback()
            time.sleep(PAUSE)
        with engine.connect() as connection:
            yield connection
        # Raises an error when the lock was lost.
        holder.commit()


def with_table_lock(connection: Connection, change: Callable[[], object]) -> None:
    """Make a change that locks a table for a moment, again later when the lock cannot be had at once.

    On SQLite, where the whole file is locked already, it is made at once.
    """
    attempts = 0
    while True:
        attempts += 1
        try:
            with connection.begin_nested():
                if connection.dialect.name == "postgresql":
                    connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
                change()
            return
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable) or attempts == ATTEMPTS:
                raise
            time.sleep(TABLE_PAUSE)
