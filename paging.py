"""Keyset paging: the sorts of a list, and the opaque cursor that names the last task of a page."""

import base64
import hashlib
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlencode

from pydantic import AfterValidator, Field, TypeAdapter
from pydantic_core import to_json

Status = Literal["all", "pending", "completed"]
Sort = Literal["created", "title", "due_date"]

MAXIMUM_ID = 2**63 - 1


class Since(NamedTuple):
    """Up to where a client knows the changes: a time, and the id of the last task that was changed then.

    Deletions up to `floor` need not be known, because the client began after them.
    """

    floor: datetime
    key: datetime
    id: int


class Position(NamedTuple):
    """A place in a sorted list: the sort key of a task, and its id, which decides between equal keys."""

    key: Any
    id: int


def _utc(value: datetime) -> datetime:
    if value.utcoffset() != timedelta(0):
        raise ValueError("not in UTC")
    return value


_Id = Annotated[int, Field(ge=0, le=MAXIMUM_ID)]
_Moment = Annotated[datetime, AfterValidator(_utc)]
_Title = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]

# What a decoded cursor must look like, by sort: a cursor comes from outside and may hold anything.
_CURSORS: dict[Sort, TypeAdapter[tuple[str, Any, int]]] = {
    "created": TypeAdapter(tuple[Literal["created"], _Moment, _Id]),
    "title": TypeAdapter(tuple[Literal["title"], _Title, _Id]),
    "due_date": TypeAdapter(tuple[Literal["due_date"], date | None, _Id]),
}

_TOKEN = TypeAdapter(tuple[Literal["changes"], str, _Moment, _Moment, _Id])

_KEYS: dict[Sort, str] = {"created": "created_at", "title": "title", "due_date": "due_date"}


def position(sort: Sort, row: Any) -> Position:
    """The position of this row's task in that sort."""
    return Position(getattr(row, _KEYS[sort]), row.id)


def write_cursor(sort: Sort, row: Any) -> str:
    """An opaque, URL-safe cursor for the tasks that come after this row."""
    return _encode((sort, *position(sort, row)))


def write_token(user_id: str, since: Since) -> str:
    """An opaque, URL-safe token for this person's changes since then."""
    return _encode(("changes", _mark(user_id), *since))


def read_token(user_id: str, token: str) -> Since:
    """Raises `ValueError` for anything but a token that `write_token` made for this person."""
    try:
        _, mark, floor, key, task_id = _TOKEN.validate_json(_decode(token), strict=True)
        if mark != _mark(user_id):
            raise ValueError("a token of somebody else")
    except ValueError:
        raise ValueError("was not given to you by this API; start over without it") from None
    return Since(floor, key, task_id)


def _mark(user_id: str) -> str:
    return hashlib.blake2b(user_id.encode(), digest_size=8).hexdigest()


def _encode(values: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(to_json(values)).decode().rstrip("=")


def _decode(text: str) -> bytes:
    if "=" in text:
        raise ValueError("there is no padding; some versions of Python would accept too much of it")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def next_link(parameters: Mapping[str, object], sort: Sort, row: Any) -> str:
    """The `Link` header to the page after this row, of a list with these parameters (RFC 8288)."""
    return f'</api/tasks?{urlencode({**parameters, "cursor": write_cursor(sort, row)})}>; rel="next"'


def read_cursor(sort: Sort, cursor: str) -> Position:
    """Raises `ValueError` for anything but a cursor that `write_cursor` made for this sort."""
    try:
        _, key, task_id = _CURSORS[sort].validate_json(_decode(cursor), strict=True)
    except ValueError:
        raise ValueError(f"was not given by this API for sort={sort}; take it from a Link header") from None
    return Position(key, task_id)
