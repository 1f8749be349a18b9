"""Tasks of a file that arrives in parts: each line is checked, and kept in a form that takes little memory."""

import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from schemas import TaskImport
from web.errors import error_response, explained
from web.files import BadNames, CsvReader, JsonReader, Line, Lines

# Of one file: tasks, and bytes.
MAXIMUM_TASKS = 100_000
MAXIMUM_FILE = 64 * 1024 * 1024
# Lines that are checked before others have the event loop: some 10 µs each.
SLICE = 100
# Bytes of JSON that are kept, and later inserted, together.
CHUNK = 128 * 1024
# Of what is wrong, so many are told.
TOLD = 100

MICROSECOND = timedelta(microseconds=1)
TOO_MANY = f"The file has more than {MAXIMUM_TASKS:,} tasks; import it in parts."


class Upload:
    """The tasks of a file so far, as compressed JSON arrays in `chunks`, and what is wrong with it."""

    def __init__(self, user_id: str, is_csv: bool) -> None:
        self._user_id = user_id
        self._lines = Lines(quotes=is_csv)
        self._reader: CsvReader | JsonReader = CsvReader() if is_csv else JsonReader()
        self._open: list[bytes] = []
        self._size = 0
        self._read = self._wrong = 0
        self._latest = datetime.min.replace(tzinfo=UTC)
        self._told: list[dict[str, str | int]] = []
        self.count = 0
        self.chunks: list[bytes] = []

    def take(self, data: bytes) -> Iterator[None]:
        """Take in the next part, in slices. Raises a 403 or a 413."""
        return self._take(self._lines.of(data))

    def end(self) -> JSONResponse | None:
        """After the last part: the 400 of a file that has wrong lines."""
        for _ in self._take(self._lines.last()):
            pass
        if self._open:
            self._close_chunk()
        if not self._wrong:
            return None
        line, field, message = self._told[0].values()
        first = f"Line {line} {message}." if field == "body" else f"Line {line}: {field} {message}."
        lines = "1 line is" if self._wrong == 1 else f"{self._wrong:,} lines are"
        return error_response(400, f"{lines} not valid, and nothing was imported. {first}", errors=self._told)

    def _take(self, lines: Iterable[Line]) -> Iterator[None]:
        lines = iter(lines)
        while some := list(islice(lines, SLICE)):
            for line in some:
                self._add(line)
            yield

    def _add(self, line: Line) -> None:
        self._read += 1
        # One of them may have the names of CSV.
        if self._read > MAXIMUM_TASKS + 1:
            raise HTTPException(413, TOO_MANY)
        try:
            read = self._reader.read(line)
            if read is not None:
                self._keep(line, TaskImport.model_validate(read))
        except ValidationError as error:
            self._refuse(line, explained(error))
        except ValueError as error:
            self._refuse(line, [("body", str(error))])
            if isinstance(error, BadNames):
                # Nothing of the rest can be read.
                self._reader = _Nothing()

    def _keep(self, line: Line, task: TaskImport) -> None:
        if task.user_id not in (None, self._user_id):
            message = f"Line {line.number} names another owner (user_id); a task is always its creator's."
            raise HTTPException(403, message)
        self.count += 1
        if self.count > MAXIMUM_TASKS:
            raise HTTPException(413, TOO_MANY)
        kept = to_json(self._stored(task.values()))
        self._open.append(kept)
        self._size += len(kept)
        if self._size > CHUNK:
            self._close_chunk()

    def _stored(self, values: dict[str, Any]) -> dict[str, Any]:
        """As `queries.bulk` takes them.

        A task that does not say when it was made, or was made in the future by a clock that was ahead, was made when
        its line arrived. No two arrive at once, because SQLite looks for one place among equal times row by row.
        """
        self._latest = max(self._latest + MICROSECOND, datetime.now(UTC))
        made = min(values["created_at"] or self._latest, self._latest)
        return {**values, "created_at": made.isoformat(" ", "microseconds")}

    def _close_chunk(self) -> None:
        self.chunks.append(zlib.compress(b"[%b]" % b",".join(self._open), 1))
        self._open, self._size = [], 0

    def _refuse(self, line: Line, reasons: list[tuple[str, str]]) -> None:
        self._wrong += 1
        for field, message in reasons[: TOLD - len(self._told)]:
            self._told.append({"line": line.number, "field": field, "message": message})


class _Nothing(JsonReader):
    def read(self, line: Line) -> None:  # noqa: ARG002
        return None
