"""Statements, alone and in batches, compiled once for one kind of database; their values and their rows."""

from collections import Counter, namedtuple
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from sqlalchemy import Dialect, Executable
from sqlmodel.sql.sqltypes import UTCDateTime

Rows = Sequence[Any]
Convert = Callable[[Any], Any]
# A statement, or a tuple of them that is a batch.
Executables = Executable | tuple[Executable, ...]
# A transaction of several round trips: it yields statements with their values, is given the rows of each, and returns
# those of its answer. Whatever it raises undoes all of them. It may be run more than once, each time from its start.
StepsRun = Generator[tuple[Executables, Mapping[str, Any]], Rows, Rows]
# Begins one such transaction.
Steps = Callable[[], StepsRun]

# Rows. Reading one and writing it as JSON blocks the event loop for about 3 µs.
HEAVY = 50

# Length of a timestamp as SQLAlchemy stores it on SQLite, in UTC but without an offset: 2026-01-02 03:04:05.678901.
STORED = 26


class Statement:
    """A statement as a driver takes it, with values and rows converted by SQLAlchemy's types.

    Raises `TypeError`, with a sentence, for a statement that needs more than that from SQLAlchemy's execution.
    """

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        for fault in _faults(compiled):
            raise TypeError(f"{fault}: {compiled}")
        self.sql = str(compiled)
        self.reads = statement.is_select
        # Set by the execution option of this name: never at once, however fast it may be.
        self.in_turn = bool(statement.get_execution_options().get("in_turn"))
        self._dialect = dialect
        # A `text()` may have none.
        self._columns = list(getattr(statement, "exported_columns", ()))
        names = compiled.bind_names
        self.names = set(names.values())
        self.constants = {name: each.effective_value for each, name in names.items() if not each.required}
        self._to_driver = dict(_to_driver(names, dialect))
        # The names of the values that are converted.
        self.converted = self._to_driver.keys()
        # What makes rows of what was fetched; the second where timestamps are in UTC already.
        self._makers: tuple[Callable[[Sequence[Any]], list[Any]], Callable[[Sequence[Any]], list[Any]]] | None = None

    def values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All values of the statement, with the constants that are a part of it."""
        complete = {**self.constants, **values}
        for name, convert in self._to_driver.items():
            complete[name] = convert(complete[name])
        return complete

    def rows(self, cursor: Any, in_utc: bool = False) -> Rows:
        """The rows as tuples with names. `in_utc`: the driver gives every timestamp in UTC."""
        if cursor.description is None:
            return ()
        if self._makers is None:
            # Some conversions depend on the driver's column types, which are known only now.
            row = namedtuple("Row", [column[0] for column in cursor.description], rename=True)  # type: ignore[misc]
            converts = dict(_from_driver(self._columns, [column[1] for column in cursor.description], self._dialect))
            others = {i: each for i, each in converts.items() if not isinstance(self._columns[i].type, UTCDateTime)}
            self._makers = partial(_rows, row, converts), partial(_rows, row, others)
        return self._makers[in_utc](cursor.fetchall())


class Batch:
    """Statements that take effect together or not at all, one after the other, in one round trip.

    Each sees what those before it did and, on PostgreSQL, what others have committed by then. The rows are those of the
    last one.

    Raises `TypeError` for what `Statement` does, and where constants, or parameters of two types, have one name.
    """

    reads = in_turn = False

    def __init__(self, statements: Sequence[Executable], dialect: Dialect) -> None:
        self.statements = [Statement(each, dialect) for each in statements]
        names = Counter(name for each in self.statements for name in each.constants)
        if twice := [name for name, count in names.items() if count > 1]:
            raise TypeError(
                f"Two statements of a batch have a constant {twice[0]}; make it a bindparam of its own name"
            )
        for name in {name for each in self.statements for name in each.names}:
            if len({name in each.converted for each in self.statements if name in each.names}) > 1:
                raise TypeError(
                    f"Two statements of a batch have a parameter {name} of two types; give one another name"
                )
        # PostgreSQL makes a transaction of statements that arrive together.
        # https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT
        self.sql = "; ".join(each.sql for each in self.statements)

    def values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        complete = [(each.names, each.values(values)) for each in self.statements]
        return {name: values[name] for names, values in complete for name in names}

    def rows(self, cursor: Any, in_utc: bool = False) -> Rows:
        return self.statements[-1].rows(cursor, in_utc)


def is_heavy(values: Mapping[str, Any]) -> bool:
    """Whether the statement may give many rows; those that may have the parameter `row_limit`."""
    return bool(values.get("row_limit", 0) > HEAVY)


@lru_cache(512)
def compile_once(statement: Executables, dialect: Dialect) -> Statement | Batch:
    """By identity: the store builds each statement once."""
    return Batch(statement, dialect) if isinstance(statement, tuple) else Statement(statement, dialect)


def _faults(compiled: Any) -> Iterator[str]:
    for column in (*compiled.insert_prefetch, *compiled.update_prefetch):
        yield f"{column} has a default that Python computes; name its value, or give the column a server_default"
    for parameter in compiled.post_compile_params | compiled.literal_execute_params:
        name = compiled.bind_names[parameter]
        yield f"The parameter {name} is written into the SQL at each execution, as those of IN are"


def _to_driver(names: Mapping[Any, str], dialect: Dialect) -> Iterator[tuple[str, Convert]]:
    for parameter, name in names.items():
        convert = parameter.type.dialect_impl(dialect).bind_processor(dialect)
        if convert:
            yield name, convert


def _from_driver(columns: Sequence[Any], types: Sequence[Any], dialect: Dialect) -> Iterator[tuple[int, Convert]]:
    """By the index of a column, what converts all of its values."""
    for index, column in enumerate(columns):
        convert = column.type.dialect_impl(dialect).result_processor(dialect, types[index])
        if convert:
            stored_as_text = isinstance(column.type, UTCDateTime) and dialect.name == "sqlite"
            yield index, partial(_of_sqlite if stored_as_text else map, convert)


def _of_sqlite(convert: Convert, values: Iterable[str | None]) -> list[datetime | None]:
    """The same as UTCDateTime's own conversion, which takes 15 µs longer for 20 tasks: a tenth of the request."""
    return [
        datetime.fromisoformat(value + "+00:00") if value and len(value) == STORED else convert(value)
        for value in values
    ]


def _rows(row: type, converts: Mapping[int, Convert], fetched: Sequence[Any]) -> list[Any]:
    """Converted by column, which is faster than row by row."""
    if fetched and converts:
        columns: list[Iterable[Any]] = list(zip(*fetched, strict=True))
        for index, convert in converts.items():
            columns[index] = convert(columns[index])
        fetched = zip(*columns, strict=True)  # type: ignore[assignment]
    return list(map(row._make, fetched))  # type: ignore[attr-defined]
