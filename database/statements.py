"""Statements compiled once for one kind of database, their values and their rows."""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Executable

Rows = Sequence[Any]
Convert = Callable[[Any], Any]


# Rows. To read them and write them as JSON takes the event loop some 3 µs each, and everybody else waits so long.
HEAVY = 50


class Statement:
    """A statement as a driver takes it.

    `convert` has SQLAlchemy's types turn values and rows into what the driver knows and back. psycopg2 needs no help.
    """

    def __init__(self, statement: Executable, dialect: Dialect, convert: bool) -> None:
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        self.sql = str(compiled)
        self.reads = statement.is_select
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._to_driver: dict[str, Convert] = {}
        self._from_driver: dict[int, Convert] = {}
        if convert:
            self._to_driver = dict(_to_driver(compiled.bind_names, dialect))
            # A text has none.
            self._from_driver = dict(_from_driver(getattr(statement, "exported_columns", ()), dialect))
        self._row: Any = None

    def values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All values of the statement, with the constants that are a part of it."""
        complete = {**self._constants, **values}
        for name, convert in self._to_driver.items():
            complete[name] = convert(complete[name])
        return complete

    def rows(self, cursor: Any) -> Rows:
        """The rows as tuples with names."""
        if cursor.description is None:
            return ()
        if self._row is None:
            self._row = _row_type([column[0] for column in cursor.description])
        fetched = cursor.fetchall()
        if self._from_driver:
            fetched = map(self._converted, fetched)
        return list(map(self._row._make, fetched))

    def _converted(self, row: Iterable[Any]) -> list[Any]:
        values = list(row)
        for index, convert in self._from_driver.items():
            values[index] = convert(values[index])
        return values


def is_heavy(values: Mapping[str, Any]) -> bool:
    """Whether the statement may give many rows; those that may have the parameter `row_limit`."""
    return bool(values.get("row_limit", 0) > HEAVY)


def _row_type(names: Sequence[str]) -> Any:
    return namedtuple("Row", names, rename=True)


# By identity: the store builds each statement once.
compile_once = lru_cache(512)(Statement)


def _to_driver(names: Mapping[Any, str], dialect: Dialect) -> Iterable[tuple[str, Convert]]:
    for parameter, name in names.items():
        convert = parameter.type.dialect_impl(dialect).bind_processor(dialect)
        if convert:
            yield name, convert


def _from_driver(columns: Iterable[Any], dialect: Dialect) -> Iterable[tuple[int, Convert]]:
    for index, column in enumerate(columns):
        convert = column.type.dialect_impl(dialect).result_processor(dialect, None)
        if convert:
            yield index, convert
