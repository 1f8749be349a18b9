"""Many tasks at once: each function is one batch, and so all or nothing."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from pydantic_core import to_json
from sqlalchemy import ColumnElement, Insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import Column, Text, and_, bindparam, func, insert, select, update
from sqlmodel.sql.sqltypes import UTCDateTime

from database import Caller
from database.statements import STORED
from paging import Status
from queries.changes import DELETED_KEPT, LATEST, advance_clock, deletion
from queries.idempotency import (
    ABOUT_ANSWER,
    THIS_KEY,
    UNANSWERED,
    IdempotencyKey,
    answered,
    find_answer,
    idempotent,
    values_of,
)
from tables import GIVEN_COLUMNS, IDEMPOTENCY_KEYS, TASK_COLUMNS, TASKS, now

_task, _kept = TASKS.c, IDEMPOTENCY_KEYS.c
_OWN = _task.user_id == bindparam("owner")


class _Elements(FunctionElement[Any]):
    """The elements of a JSON array, as a table with the column `value`."""

    inherit_cache = True


class _Field(FunctionElement[Any]):
    """A field of a JSON object, as the column of the same name stores it."""

    inherit_cache = False

    def __init__(self, value: Any, column: Column[Any]) -> None:
        super().__init__(value)
        self.column = column


@compiles(_Elements, "postgresql")
def _elements_on_postgresql(element: _Elements, compiler: Any, **options: Any) -> str:
    return f"json_array_elements(CAST({compiler.process(element.clauses, **options)} AS json))"


@compiles(_Elements, "sqlite")
def _elements_on_sqlite(element: _Elements, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_Field, "postgresql")
def _field_on_postgresql(element: _Field, compiler: Any, **options: Any) -> str:
    column, value = element.column, compiler.process(element.clauses, **options)
    return f"CAST({value} ->> '{column.name}' AS {column.type.compile(compiler.dialect)})"


@compiles(_Field, "sqlite")
def _field_on_sqlite(element: _Field, compiler: Any, **options: Any) -> str:
    field = f"json_extract({compiler.process(element.clauses, **options)}, '$.{element.column.name}')"
    # A time in UTC as SQLAlchemy stores it there, without its offset.
    return f"substr({field}, 1, {STORED})" if isinstance(element.column.type, UTCDateTime) else field


_given = _Elements(bindparam("tasks", type_=Text())).table_valued("value")


# Of tasks that say when they were made: `2026-01-31 12:00:00.000000+00:00`.
GIVEN_TIME = _Field(_given.c.value, _task.created_at)


def insertion(*only_if: ColumnElement[bool], created_at: ColumnElement[Any] = LATEST) -> Insert:
    """Of the tasks in the parameter `tasks`, a JSON array of objects with all of `GIVEN_COLUMNS`, in its order."""
    new: dict[str, Any] = {
        "user_id": bindparam("owner"),
        **{column.name: _Field(_given.c.value, column) for column in GIVEN_COLUMNS},
        "created_at": created_at,
        "updated_at": LATEST,
    }
    rows = select(*new.values()).where(*only_if)
    return insert(TASKS).from_select(list(new), rows, include_defaults=False)


_CREATE = (advance_clock(), insertion().returning(*TASK_COLUMNS))
# Other tasks with that time are those of an import, with later ids. Tasks are answered as they are now, deleted ones
# left out.
_own = select(*TASKS.c).where(_OWN).subquery()
_SAME = and_(_own.c.created_at == _kept.created_at, _own.c.id <= _kept.id)
_KEPT_TASKS = (
    select(*ABOUT_ANSWER, *(_own.c[column.name] for column in TASK_COLUMNS))
    .select_from(IDEMPOTENCY_KEYS.outerjoin(_own, _SAME))
    .where(*THIS_KEY)
    .order_by(_own.c.id)
)
_LAST = select(func.max(_task.id)).where(_OWN, _task.created_at == LATEST).scalar_subquery()
_CREATE_ONCE = idempotent(insertion(UNANSWERED), answer={"id": _LAST, "created_at": LATEST}, kept=_KEPT_TASKS)


async def create_tasks(
    database: Caller, user_id: str, tasks: Sequence[Mapping[str, Any]], key: IdempotencyKey | None = None
) -> list[Any]:
    """The new rows in this order, made from values for all of `GIVEN_COLUMNS`.

    Raises what `store.create_task` does.
    """
    moment = now()
    values = {"owner": user_id, "tasks": to_json(tasks).decode(), "now": moment}
    if key is None:
        return sorted(await database.execute(_CREATE, values), key=attrgetter("id"))
    rows = answered(await database.execute(_CREATE_ONCE, {**values, **values_of(key, moment)}), key, moment)
    return [row for row in rows if row.id is not None]


async def find_created(database: Caller, user_id: str, key: IdempotencyKey) -> list[Any] | None:
    """The tasks of an earlier request with this key, as they are now; None without one. Raises `KeyReused`."""
    rows = await find_answer(database, user_id, key, _KEPT_TASKS)
    return [row for row in rows if row.id is not None] if rows else None


_WANTED = bindparam("new_completed", type_=_task.completed.type)
_APPLIES = bindparam("applies", type_=_task.completed.type)
_COMPLETE = update(TASKS).where(_OWN, _task.completed != _WANTED, _APPLIES).values(completed=_WANTED, updated_at=LATEST)
_CHANGED = select(func.count().label("id")).where(_OWN, _task.updated_at == LATEST)
_COMPLETE_ALL = (advance_clock(), _COMPLETE, _CHANGED)
_COMPLETE_ALL_ONCE = idempotent(_COMPLETE.where(UNANSWERED), answer={"id": _CHANGED.scalar_subquery()})


async def complete_tasks(
    database: Caller, user_id: str, completed: bool, status: Status = "all", key: IdempotencyKey | None = None
) -> int:
    """Complete all tasks of that status, or take that back; how many were changed. Raises what a toggle does."""
    moment = now()
    applies = status != ("completed" if completed else "pending")
    values = {"owner": user_id, "new_completed": completed, "applies": applies, "now": moment}
    if key is None:
        rows = await database.execute(_COMPLETE_ALL, values)
    else:
        rows = answered(await database.execute(_COMPLETE_ALL_ONCE, {**values, **values_of(key, moment)}), key, moment)
    return int(rows[0].id)


_CLEAR = deletion((_OWN, _task.completed == bindparam("is_completed")))


async def delete_tasks(database: Caller, user_id: str, completed: bool) -> int:
    """Delete all tasks that are completed, or all that are not. How many there were."""
    moment = now()
    values = {"owner": user_id, "is_completed": completed, "now": moment, "expired": moment - DELETED_KEPT}
    return int((await database.execute(_CLEAR, values))[0][0])


# For `Database`, which refuses at start what it could not run.
STATEMENTS = (_CREATE, _CREATE_ONCE, _KEPT_TASKS, _COMPLETE_ALL, _COMPLETE_ALL_ONCE, _CLEAR)
