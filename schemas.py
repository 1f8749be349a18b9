"""What comes in and what goes out: the Pydantic schemas of a task."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Annotated, Any, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
)
from pydantic_core import to_json
from typing_extensions import TypedDict

MAXIMUM_TITLE = 200
MAXIMUM_DESCRIPTION = 1000
MAXIMUM_LIMIT = 500
EARLIEST_YEAR = 1900

# RFC 3339's date, alone or as a date-time at midnight of its own offset.
CALENDAR_DATE = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ]00:00(?::00(?:\.0+)?)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?)?", re.ASCII
)

# RFC 3339's date-time.
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


def _storable(text: str) -> str:
    """PostgreSQL's text holds every character but NUL."""
    if "\0" in text:
        raise ValueError("must not contain the NUL character")
    return text


def _calendar_date(value: Any) -> date:
    match = CALENDAR_DATE.fullmatch(value) if isinstance(value, str) else None
    if match:
        with suppress(ValueError):
            return date.fromisoformat(match[1])
    raise ValueError('must be a calendar date such as "2026-01-31", or null')


def _moment(value: Any) -> datetime:
    if isinstance(value, str) and MOMENT.fullmatch(value):
        # Beyond the years 1 to 9999 in UTC it is an OverflowError.
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(value).astimezone(UTC)
            # Of the first years PostgreSQL's answer, in a time zone of its own, may be before the calendar of Python.
            if moment.year >= EARLIEST_YEAR:
                return moment
    raise ValueError('must be a date and time from 1900 on with an offset, such as "2026-01-31T12:00:00Z", or null')


def timestamp(value: datetime) -> str:
    """ISO 8601, always with microseconds, of a moment in UTC, as every row of the store has it."""
    return value.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


# Characters that are invisible by themselves: controls, U+2800 (Braille blank), and those with Unicode's White_Space or
# Default_Ignorable_Code_Point (PropList.txt, DerivedCoreProperties.txt), such as U+200B.
INVISIBLE = (
    r"\u0000-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f"
    r"\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
)
# Those beyond U+FFFF stay out of the document's pattern: JavaScript without the flag `u` cannot read such a range.
VISIBLE = re.compile(rf"[^{INVISIBLE}\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]")


def _visible(text: str) -> str:
    if not VISIBLE.search(text):
        raise ValueError("must not be blank")
    return text


# The patterns are only for the OpenAPI document; the validators above have better messages.
Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAXIMUM_TITLE),
    AfterValidator(_storable),
    AfterValidator(_visible),
    Field(
        description="Trimmed of white space at both ends. It needs a character that shows.",
        json_schema_extra={"pattern": rf"^[^\u0000]*[^{INVISIBLE}][^\u0000]*$"},
    ),
]
Description = Annotated[
    str,
    StringConstraints(max_length=MAXIMUM_DESCRIPTION),
    AfterValidator(_storable),
    Field(json_schema_extra={"pattern": r"^[^\u0000]*$"}),
]
DueDate = Annotated[
    date,
    BeforeValidator(_calendar_date),
    Field(description="A calendar date; a midnight timestamp is taken as its date."),
]
# Pydantic writes a datetime as `timestamp` does, and faster, unless it is at a full second.
Timestamp = Annotated[
    datetime | str,
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-21T06:00:00.123456Z"]}),
]


class TaskBody(BaseModel):
    """JSON types are strict; unknown fields are ignored, so that a frontend may send a whole task back."""

    model_config = ConfigDict(strict=True, extra="ignore")

    user_id: Annotated[Any, WithJsonSchema({"type": ["string", "null"]})] = Field(
        default=None, description="Whose task it is; naming anybody but the caller is refused."
    )

    def values(self) -> dict[str, Any]:
        """The columns that the caller named."""
        return self.model_dump(exclude={"user_id"}, exclude_unset=True)


class TaskCreate(TaskBody):
    title: Title
    description: Description | None = None
    completed: bool = False
    due_date: DueDate | None = None

    def values(self) -> dict[str, Any]:
        """All columns of the new task, those left out with their defaults."""
        return self.model_dump(exclude={"user_id"})


class TaskImport(TaskCreate):
    """A line of a file: a new task, of which `created_at` is kept. `id` and `updated_at` are ignored."""

    created_at: Annotated[datetime, BeforeValidator(_moment)] | None = Field(
        default=None, description="When it was made, which is now if it is left out or in the future."
    )


class TaskUpdate(TaskBody):
    """A partial update: what is left out stays, null clears `description` and `due_date`."""

    title: Title = ""
    description: Description | None = None
    completed: bool = False
    due_date: DueDate | None = None


class TaskComplete(TaskBody):
    """What `completed` is to be; it is flipped when left out."""

    completed: bool = False


class TasksComplete(TaskBody):
    """What `completed` is to be of all tasks."""

    completed: bool


TASKS_CREATE = TypeAdapter(Annotated[list[TaskCreate], Field(min_length=1, max_length=MAXIMUM_LIMIT)])


class TaskOut(TypedDict):
    """A task of the caller's."""

    # Not a model, since rows of the database need no validating.

    id: Annotated[int, Field(examples=[1])]
    title: Annotated[str, Field(examples=["Buy milk"])]
    description: Annotated[str | None, Field(examples=["Two litres"])]
    completed: Annotated[bool, Field(examples=[False])]
    due_date: Annotated[date | None, Field(examples=["2026-12-24"])]
    created_at: Timestamp
    updated_at: Timestamp


class Me(TypedDict):
    """The account that the token names, and how many tasks it has and may have."""

    id: str
    email: str | None
    name: str | None
    tasks: int
    task_limit: Annotated[int | None, Field(description="The most that it may have; null where there is no limit.")]


# In the order of an answer.
TASK_FIELDS = tuple(TaskOut.__annotations__)

_TASK = TypeAdapter(TaskOut)
_TASKS = TypeAdapter(list[TaskOut])


def task_json(row: Any) -> bytes:
    """A row of the store as it goes out."""
    return _TASK.dump_json(_task(row))


def tasks_json(rows: Iterable[Any]) -> bytes:
    return _TASKS.dump_json([_task(row) for row in rows])


def changes_json(rows: Sequence[Any], token: str, more: bool) -> bytes:
    """Changes of the store as they go out; of deleted tasks only the id is set."""
    deleted = [row.id for row in rows if row.title is None]
    tasks = tasks_json(row for row in rows if row.title is not None)
    return b'{"tasks":%b,"deleted":%b,"token":%b,"more":%b}' % (tasks, *map(to_json, (deleted, token, more)))


def _task(row: Any) -> TaskOut:
    task: Any = row._asdict()
    for name in ("created_at", "updated_at"):
        value = task[name]
        if not value.microsecond:
            task[name] = timestamp(value)
    return cast(TaskOut, task)
