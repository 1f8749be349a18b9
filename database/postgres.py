"""PostgreSQL from the event loop, without threads."""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from psycopg2.extras import register_uuid
from sqlalchemy import URL
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from database.connection import Connection
from database.errors import DatabaseUnavailable, Overtaken
from database.loops import PerLoop
from database.pool import Place, Pool
from database.queue import Statistics
from database.statements import HEAVY, Batch, Executables, Rows, Statement, Steps, compile_once, is_heavy

logger = logging.getLogger("todo.sql")

DIALECT = PGDialect_psycopg2()  # type: ignore[no-untyped-call]
# As SQLAlchemy does, whose types rely on it.
register_uuid()  # type: ignore[no-untyped-call]

# Time zones of a session in which PostgreSQL gives every timestamp in UTC. Neon's is GMT.
IN_UTC = ("UTC", "GMT", "Etc/UTC")

# Seconds that a read waits for its answer on a connection that the network may have forgotten.
MUTE = 2.0

# Seconds: the longest first pause before a statement that was rolled back is run again; doubled each time.
INITIAL_BACKOFF = 0.01


class Postgres:
    """Runs statements on a pool of connections in the running event loop, each in autocommit."""

    dialect = DIALECT

    def __init__(self, url: URL, size: int) -> None:
        self.url = url
        _, options = DIALECT.create_connect_args(url)  # type: ignore[no-untyped-call]
        # The default is the encoding of the database, which may lack characters that people write.
        options = {"client_encoding": "UTF8", **options}
        self._pools = PerLoop(lambda: Pool(options, size), Pool.close)

    @property
    def statistics(self) -> list[Statistics]:
        return [pool.statistics for pool in self._pools.all()]

    async def execute(self, statement: Executables, values: Mapping[str, Any], person: str, deadline: float) -> Rows:
        compiled = compile_once(statement, DIALECT)
        logger.debug(compiled.sql)
        pool = self._pools.get()
        place = await pool.enter(person, is_heavy(values))
        try:
            cursor = await _ask(place, compiled, compiled.values(values))
            rows = compiled.rows(cursor, cursor.connection.get_parameter_status("TimeZone") in IN_UTC)
            place.heavy = len(rows) > HEAVY
            return rows
        finally:
            pool.leave(place, deadline)

    async def run_steps(self, steps: Steps, person: str, patience: float) -> Rows:
        """On one connection, which is closed where the steps do not come to their end: the server then undoes them.

        They are run again when the server has undone them because of others.
        """
        pause = INITIAL_BACKOFF
        while True:
            try:
                return await self._run_once(steps, person, patience)
            except Overtaken:
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - jitter against a second collision
                pause *= 2

    async def _run_once(self, steps: Steps, person: str, patience: float) -> Rows:
        pool = self._pools.get()
        async with asyncio.timeout(patience):
            place = await pool.enter(person)
        try:
            async with asyncio.timeout(patience):
                connection = await place.connect()
            return await _run_steps(connection, steps, patience)
        except BaseException:
            if place.connection is not None:
                place.connection.close()
            raise
        finally:
            pool.leave(place, 0.0)

    async def transaction(self, statements: Sequence[str], deadline: float) -> None:
        """All of them or none; PostgreSQL makes a transaction of statements that arrive together."""
        pool = self._pools.get()
        place = await pool.enter("")
        try:
            connection = await place.connect()
            await connection.execute("; ".join(statements))
        finally:
            pool.leave(place, deadline)

    async def is_pooled(self) -> bool:
        """Whether something in between, such as PgBouncer or Neon's proxy, hands out process ids of its own."""
        pool = self._pools.get()
        place = await pool.enter("")
        try:
            cursor = await (await place.connect()).execute("SELECT pg_backend_pid()")
            return bool(cursor.fetchone()[0] != cursor.connection.get_backend_pid())
        finally:
            pool.leave(place, 0.0)

    def close(self) -> None:
        self._pools.close()


async def _run_steps(connection: Connection, steps: Steps, patience: float) -> Rows:
    async def execute(sql: str, values: Mapping[str, Any] | None = None) -> Any:
        async with asyncio.timeout(patience):
            return await connection.execute(sql, values)

    with closing(steps()) as running:
        await execute("BEGIN")
        try:
            statement, values = next(running)
            while True:
                compiled = compile_once(statement, DIALECT)
                logger.debug(compiled.sql)
                cursor = await execute(compiled.sql, compiled.values(values))
                in_utc = cursor.connection.get_parameter_status("TimeZone") in IN_UTC
                statement, values = running.send(compiled.rows(cursor, in_utc))
        except StopIteration as end:
            await execute("COMMIT")
            return end.value  # type: ignore[no-any-return]


async def _ask(place: Place, statement: Statement | Batch, values: Mapping[str, Any]) -> Any:
    """The cursor with the answer. A statement is run again where it has certainly done nothing.

    1. A read whose connection dies, once.
    2. A read that gets no answer on a connection that was idle before, once.
    3. Any statement that PostgreSQL undid because of others, until the caller's deadline.
    """
    pause = INITIAL_BACKOFF
    may_repeat = statement.reads
    while True:
        connection = await place.connect()
        try:
            if may_repeat and connection.may_be_forgotten:
                async with asyncio.timeout(MUTE):
                    return await connection.execute(statement.sql, values)
            return await connection.execute(statement.sql, values)
        except Overtaken:
            await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - jitter against a second collision
            pause *= 2
        except TimeoutError:
            place.give_up(connection)
            may_repeat = False
        except DatabaseUnavailable:
            if not may_repeat or not connection.closed:
                raise
            may_repeat = False
