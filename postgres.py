"""PostgreSQL without threads: store functions in greenlets of the event loop, on a session of statements compiled once.

A store function stays a plain synchronous function. Where it executes a statement, its greenlet gives way to the event
loop until PostgreSQL has answered.
"""

import asyncio
import logging
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg2
from sqlalchemy import URL, Executable
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from greenlets import wait_for
from pool import Connection, Pool, as_sqlalchemy

logger = logging.getLogger("todo.sql")

P = ParamSpec("P")
T = TypeVar("T")


class Statement:
    """A statement as psycopg2 takes it."""

    def __init__(self, statement: Executable) -> None:
        compiled = statement.compile(dialect=PGDialect_psycopg2())  # type: ignore[attr-defined, no-untyped-call]
        self.sql = str(compiled)
        self.reads = statement.is_select
        self.constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._row: Any = None

    def rows(self, cursor: Any) -> "Rows":
        if cursor.description is None:
            return Rows()
        if self._row is None:
            self._row = make_row_type(column.name for column in cursor.description)
        return Rows(map(self._row._make, cursor.fetchall()))


def make_row_type(names: Iterable[str]) -> Any:
    """Rows with attributes and `_asdict()`, like SQLAlchemy's."""
    return namedtuple("Row", names, rename=True)


# By identity: the store builds each statement once.
compile_once = lru_cache(256)(Statement)


class Rows(list[Any]):
    """The part of SQLAlchemy's `Result` that the store uses."""

    def all(self) -> "Rows":
        return self

    def one_or_none(self) -> Any:
        return self[0] if self else None

    def one(self) -> Any:
        return self[0]


class PostgresSession:
    """The part of SQLModel's `Session` that the store uses."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        # Whether anything but reads was sent.
        self.wrote = False

    async def run(self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = await self._connection.worker.run(lambda: function(self, *args, **kwargs))  # type: ignore[arg-type]
        return result

    def exec(self, statement: Executable, *, params: Mapping[str, Any]) -> Rows:
        """Raises SQLAlchemy's `DBAPIError`, as SQLModel's session does."""
        compiled = compile_once(statement)
        self.wrote = self.wrote or not compiled.reads
        logger.debug(compiled.sql)
        try:
            cursor = wait_for(self._connection.execute(compiled.sql, {**compiled.constants, **params}))
        except psycopg2.Error as error:
            raise as_sqlalchemy(error, compiled.sql) from error
        return compiled.rows(cursor)


class AsyncEngine:
    """Runs store functions in greenlets of the running event loop."""

    def __init__(self, url: URL, size: int) -> None:
        _, options = PGDialect_psycopg2().create_connect_args(url)  # type: ignore[no-untyped-call]
        # Or else it is the database's, which may know fewer letters than people do.
        self._options = {"client_encoding": "UTF8", **options}
        self._size = size
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}

    async def run(self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A function that has only read when its connection dies is called once more, on a new one."""
        pool = self._pools.get(asyncio.get_running_loop()) or self._new_pool()
        connection = await pool.take()
        try:
            session = PostgresSession(connection)
            try:
                return await session.run(function, *args, **kwargs)
            except DBAPIError:
                if session.wrote or not connection.closed:
                    raise
            connection = await pool.renew(connection)
            return await PostgresSession(connection).run(function, *args, **kwargs)
        finally:
            pool.give_back(connection)

    def close(self) -> None:
        for pool in list(self._pools.values()):
            pool.close()

    def _new_pool(self) -> Pool:
        """A server has one event loop for life; a `TestClient` without a lifespan has one for each request."""
        # Several threads may do so at once.
        for loop in list(self._pools):
            if loop.is_closed() and (ended := self._pools.pop(loop, None)):
                ended.close()
        pool = self._pools[asyncio.get_running_loop()] = Pool(self._options, self._size)
        return pool
