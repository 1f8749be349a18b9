"""Tasks in a file, written and read: JSON Lines (https://jsonlines.org), or CSV (RFC 4180) whose first line has names.

A cell that a spreadsheet would take for a formula is written with an apostrophe before it, which is taken away when it
is read (https://owasp.org/www-community/attacks/CSV_Injection).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json

from database import Rows
from schemas import TASK_FIELDS, TaskImport, task_json, timestamp
from web.pieces import Form

JSON_LINES, CSV = "application/jsonl", "text/csv"

# Bytes; as much as a task may have that is sent alone.
LONGEST_LINE = 64 * 1024

FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
ESCAPED = re.compile(f"'{FORMULA.pattern}")
QUOTED = re.compile('[",\r\n]')
# In quotes or not, and what ends it. Possessive, so that no text takes long.
CELL = re.compile(r'(?:"((?:[^"]|"")*+)"|([^",\r\n]*+))(,|\Z)')
BOOLEANS = {"true": True, "false": False}
BOOLEAN_FIELDS = [name for name, field in TaskImport.model_fields.items() if field.annotation is bool]


def _cell(value: Any) -> str:
    """Nothing for None; "" in quotes for an empty text, which the `csv` of the standard library does not tell apart."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return timestamp(value) if isinstance(value, datetime) else str(value).lower()
    text = value
    if FORMULA.match(text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if not text or QUOTED.search(text) else text


def _json_lines(rows: Rows) -> bytes:
    return b"".join(task_json(row) + b"\n" for row in rows)


def _csv_lines(rows: Rows) -> bytes:
    return "".join(",".join(map(_cell, row)) + "\r\n" for row in rows).encode()


# By media type.
FORMS = {JSON_LINES: Form(_json_lines), CSV: Form(_csv_lines, opening=",".join(TASK_FIELDS).encode() + b"\r\n")}


class Line(NamedTuple):
    """A line of a file, or several ones that belong together, and the number of the first of them, from 1."""

    number: int
    data: bytes


class Lines:
    """Splits what arrives into lines. With `quotes`, as in CSV, those in double quotes belong together.

    Of a line that is longer than `LONGEST_LINE` only the beginning is kept, with one byte more than that.
    """

    def __init__(self, quotes: bool) -> None:
        self._quotes, self._in_quotes = quotes, False
        self._kept = bytearray()
        self._number = self._first = 1

    def of(self, data: bytes) -> Iterator[Line]:
        *ended, rest = data.split(b"\n")
        for part in ended:
            self._add(part)
            self._number += 1
            if self._in_quotes:
                self._add(b"\n")
            else:
                yield self._take()
        self._add(rest)

    def last(self) -> Iterator[Line]:
        if self._kept:
            yield self._take()

    def _add(self, part: bytes) -> None:
        if self._quotes and part.count(b'"') % 2:
            self._in_quotes = not self._in_quotes
        self._kept += part[: max(0, LONGEST_LINE + 1 - len(self._kept))]

    def _take(self) -> Line:
        line = Line(self._first, bytes(self._kept))
        self._kept.clear()
        self._first = self._number
        return line


def _text(line: Line) -> str:
    """Raises `ValueError`."""
    if len(line.data) > LONGEST_LINE:
        raise ValueError("is longer than 64 KiB")
    try:
        text = line.data.decode("utf-8-sig" if line.number == 1 else "utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not in UTF-8") from None
    return text.removesuffix("\r")


class JsonReader:
    """Raises `ValueError` for a line that cannot be read; None is one without anything."""

    def read(self, line: Line) -> Any:
        text = _text(line)
        if not text.strip():
            return None
        try:
            return from_json(text, allow_inf_nan=False)
        except ValueError as error:
            raise ValueError("is not valid JSON: " + str(error).replace(" at line 1 column", " at column")) from None


class CsvReader:
    """The same for CSV. The first line has the names, `title` among them; those that are not of a task are ignored."""

    def __init__(self) -> None:
        self._names: list[str] | None = None

    def read(self, line: Line) -> Mapping[str, Any] | None:
        text = _text(line)
        if not text.strip():
            return None
        cells = list(_cells(text))
        if self._names is None:
            self._names = [cell or "" for cell in cells]
            if "title" not in self._names:
                raise BadNames("must have the names of the columns, separated by commas, and title among them")
            if twice := next((name for name in self._names if name and self._names.count(name) > 1), None):
                raise BadNames(f"names the column {twice} twice")
            return None
        if len(cells) != len(self._names):
            raise ValueError(f"must have {len(self._names)} cells as the first line has, not {len(cells)}")
        return {name: _value(name, cell) for name, cell in zip(self._names, cells, strict=True) if cell is not None}


class BadNames(ValueError):
    """The first line of CSV does not say what its columns are."""


def _cells(text: str) -> Iterator[str | None]:
    start = 0
    while True:
        found = CELL.match(text, start)
        if found is None:
            if "\r" in text:
                raise ValueError("has a carriage return; end each line with a line feed")
            raise ValueError('is not valid CSV; put a cell with a double quote in quotes, and write "" for it')
        yield found[2] or None if found[1] is None else found[1].replace('""', '"')
        if not found[3]:
            return
        start = found.end()


def _value(name: str, cell: str) -> Any:
    if name in BOOLEAN_FIELDS:
        # Spreadsheets write TRUE.
        return BOOLEANS.get(cell.lower(), cell)
    return cell[1:] if ESCAPED.match(cell) else cell
