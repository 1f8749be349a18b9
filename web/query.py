"""The query strings, as Pydantic schemas."""

import re
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator

from paging import Position, Since, Sort, Status, read_cursor, read_token
from schemas import MAXIMUM_LIMIT


def _whole_number(value: Any) -> Any:
    """A query parameter is text, and `int` would take "1_0", " 1 " and "+1" too."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]+", value):
        raise ValueError("must be a whole number")
    return value


class StatusQuery(BaseModel):
    """The query string of a change of many tasks. It takes nothing else, so that a slip in a name changes nothing."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[Status, Field(description="Which tasks.")] = "all"


class ClearQuery(StatusQuery):
    """The query string of a deletion, which has no default, so that nobody empties a list by a slip."""

    status: Annotated[Literal["pending", "completed"], Field(description="Which tasks; there is no `all`.")]


class TaskQuery(BaseModel):
    """The query string of a list."""

    status: Annotated[Status, Field(description="Which tasks.")] = "all"
    sort: Annotated[
        Sort,
        Field(description="`created`: newest first. `title`: ignoring case. `due_date`: soonest first, undated last."),
    ] = "created"
    limit: Annotated[
        Annotated[int, Field(ge=1, le=MAXIMUM_LIMIT), BeforeValidator(_whole_number)] | None,
        Field(description="Tasks on a page; the whole list when left out."),
    ] = None
    cursor: Annotated[
        Position | None,
        WithJsonSchema({"type": "string"}),
        Field(description="Opaque; where the page begins, from the `Link` header before it, for the same sort."),
    ] = None

    @field_validator("cursor", mode="plain")
    @classmethod
    def _read(cls, cursor: str, info: ValidationInfo) -> Position:
        return read_cursor(info.data.get("sort", "created"), cursor)


class ChangesQuery(BaseModel):
    """The query string of the changes. Validated with the person's id as the context."""

    since: Annotated[
        Since | None,
        WithJsonSchema({"type": "string"}),
        Field(description="Opaque; the `token` of the answer before. Everything when left out."),
    ] = None
    limit: Annotated[
        Annotated[int, Field(ge=1, le=MAXIMUM_LIMIT), BeforeValidator(_whole_number)],
        Field(description="At most so many changes in one answer."),
    ] = MAXIMUM_LIMIT

    @field_validator("since", mode="plain")
    @classmethod
    def _read(cls, token: str, info: ValidationInfo) -> Since:
        return read_token(cast(str, info.context), token)
