"""The queries. Each function of tasks makes one round trip, which is one transaction: a statement, or a batch of them.

Statements are built once, because building one costs more than running it, and select columns instead of objects. Each
statement on tasks constrains `user_id`, so that a task is reachable only through its owner.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from itertools import product
from typing import Any

from sqlalchemy import ColumnElement, Select
from sqlmodel import and_, bindparam, case, false, func, insert, or_, select, tuple_, update

from database import Caller, DatabaseUnavailable, DuplicateId, Executables, Rows
from paging import Position, Sort, Status
from queries.changes import DELETED_KEPT, LATEST, advance_clock, deletion
from queries.idempotency import UNANSWERED, IdempotencyKey, answered, find_answer, idempotent, values_of
from tables import DUE_DATE_KEY, GIVEN_COLUMNS, TASK_COLUMNS, TASKS, TITLE_KEY, UNDATED, now

# After rows were imported with their ids.
COUNTER_BEHIND = "the counter of ids is behind; run "
COUNTER_BEHIND += "SELECT setval(pg_get_serial_sequence('tasks', 'id'), (SELECT max(id) FROM tasks))"


_task = TASKS.c

_OWN = _task.user_id == bindparam("owner")
_THIS = (_OWN, _task.id == bindparam("task_id"))
_EXPECTED = bindparam("expected", type_=_task.updated_at.type)


def _one(rows: Rows) -> Any:
    """The row, or None when there is none."""
    return rows[0] if rows else None


@cache
def _create(has_key: bool) -> Executables:
    values: dict[str, ColumnElement[Any]] = {each.name: bindparam(each.name, type_=each.type) for each in GIVEN_COLUMNS}
    values |= {"user_id": bindparam("owner"), "created_at": LATEST, "updated_at": LATEST}
    conditions = [UNANSWERED] if has_key else []
    row = select(*values.values()).where(*conditions)
    change = insert(TASKS).from_select(list(values), row, include_defaults=False)
    return (
        idempotent(change, (_OWN, _task.updated_at == LATEST))
        if has_key
        else (advance_clock(), change.returning(*TASK_COLUMNS))
    )


async def create_task(
    database: Caller, user_id: str, values: Mapping[str, Any], key: IdempotencyKey | None = None
) -> Any:
    """The new row, made from values for all of `GIVEN_COLUMNS`.

    Raises `KeyReused`, `ParentMissing` without a row of the user, and `DatabaseUnavailable` for an id that is taken.
    """
    try:
        return await _change(database, _create(key is not None), {"owner": user_id, **values}, key)
    except DuplicateId as error:
        raise DatabaseUnavailable(f"{error}; {COUNTER_BEHIND}") from None


async def find_created(database: Caller, user_id: str, key: IdempotencyKey) -> Any:
    """The task of an earlier request with this key, as it was made; None without one. Raises `KeyReused`."""
    return _one(await find_answer(database, user_id, key))


_SELECT: Select[Any] = select(*TASK_COLUMNS)
_GET = _SELECT.where(*_THIS)


async def get_task(database: Caller, user_id: str, task_id: int) -> Any:
    """The row, or None when the user has no such task. So do the functions below."""
    return _one(await database.execute(_GET, {"owner": user_id, "task_id": task_id}))


@cache
def _update(names: frozenset[str], if_match: bool = False, has_key: bool = False) -> Executables:
    """The update of these columns. `updated_at` changes only when one of them does."""
    new = {name: bindparam(f"new_{name}", type_=_task[name].type) for name in sorted(names)}
    changed = or_(false(), *(_task[name].is_distinct_from(value) for name, value in new.items()))
    return _on_this({**new, "updated_at": case((changed, LATEST), else_=_task.updated_at)}, if_match, has_key)


async def update_task(
    database: Caller,
    user_id: str,
    task_id: int,
    changes: Mapping[str, Any],
    expected: datetime | None = None,
    key: IdempotencyKey | None = None,
) -> Any:
    """Change only the named columns; no names change nothing.

    With `expected`, the task is None too when its `updated_at` is another. Raises `KeyReused`, and `ParentMissing`
    without a row of the user.
    """
    values = {"owner": user_id, "task_id": task_id, **{f"new_{name}": value for name, value in changes.items()}}
    statement = _update(frozenset(changes), expected is not None, key is not None)
    return await _change(database, statement, {**values, "expected": expected}, key)


@cache
def _toggle(if_match: bool = False, has_key: bool = False) -> Executables:
    return _on_this({"completed": ~_task.completed, "updated_at": LATEST}, if_match, has_key)


async def toggle_task(
    database: Caller, user_id: str, task_id: int, expected: datetime | None = None, key: IdempotencyKey | None = None
) -> Any:
    """Flip `completed`. Otherwise like `update_task`."""
    values = {"owner": user_id, "task_id": task_id, "expected": expected}
    return await _change(database, _toggle(expected is not None, key is not None), values, key)


def _which(if_match: bool) -> tuple[ColumnElement[bool], ...]:
    return (*_THIS, _task.updated_at == _EXPECTED) if if_match else _THIS


def _on_this(values: Mapping[str, Any], if_match: bool, has_key: bool) -> Executables:
    change = update(TASKS).where(*_which(if_match)).values(values)
    if not has_key:
        return advance_clock(), change.returning(*TASK_COLUMNS)
    # After the change: where no value was changed, `updated_at` is as it was.
    found = (*_THIS, or_(_task.updated_at == _EXPECTED, _task.updated_at == LATEST)) if if_match else _THIS
    return idempotent(change.where(UNANSWERED), found)


async def _change(
    database: Caller, statement: Executables, values: Mapping[str, Any], key: IdempotencyKey | None
) -> Any:
    """Run what `_create`, `_update` or `_toggle` made. Raises `KeyReused`."""
    moment = now()
    if key is None:
        return _one(await database.execute(statement, {**values, "now": moment}))
    rows = await database.execute(statement, {**values, **values_of(key, moment)})
    return _one(answered(rows, key, moment))


@cache
def _delete(if_match: bool) -> Executables:
    return deletion(_which(if_match))


async def delete_task(database: Caller, user_id: str, task_id: int, expected: datetime | None = None) -> bool:
    """Whether there was such a task, with that `expected`."""
    moment = now()
    values = {"owner": user_id, "task_id": task_id, "expected": expected}
    values |= {"now": moment, "expired": moment - DELETED_KEPT}
    return bool(_one(await database.execute(_delete(expected is not None), values))[0])


_COUNT = select(func.count()).select_from(select(_task.id).where(_OWN).limit(bindparam("enough")).subquery())


async def count_tasks(database: Caller, user_id: str, enough: int) -> int:
    """How many tasks the user has; `enough` stands for any number beyond."""
    return int(_one(await database.execute(_COUNT, {"owner": user_id, "enough": enough}))[0])


_ORDER: dict[Sort, tuple[ColumnElement[Any], ...]] = {
    "created": (_task.created_at.desc(), _task.id.desc()),
    "title": (TITLE_KEY, _task.id),
    "due_date": (DUE_DATE_KEY, _task.id),
}


def _after(sort: Sort, dated: bool) -> ColumnElement[bool]:
    """The condition for rows after the position (`key`, `after_id`) in that sort."""
    after_id: ColumnElement[int] = bindparam("after_id", type_=_task.id.type)
    if sort == "created":
        return tuple_(_task.created_at, _task.id) < tuple_(bindparam("key", type_=_task.created_at.type), after_id)
    if sort == "title":
        column: ColumnElement[Any] = TITLE_KEY
        key: ColumnElement[Any] = func.lower(bindparam("key", type_=_task.title.type)).collate("C")
    else:
        column = DUE_DATE_KEY
        key = bindparam("key", type_=_task.due_date.type) if dated else UNDATED
    # SQLite uses the index for the first condition alone.
    return and_(column >= key, tuple_(column, _task.id) > tuple_(key, after_id))


@cache
def _list(sort: Sort, filtered: bool, after: bool, dated: bool) -> Select[Any]:
    statement = _SELECT.where(_OWN).order_by(*_ORDER[sort]).limit(bindparam("row_limit"))
    if filtered:
        statement = statement.where(_task.completed == bindparam("is_completed"))
    if after:
        # The rest of a list waits for its turn, however short each part of it is.
        statement = statement.where(_after(sort, dated)).execution_options(in_turn=True)
    return statement


async def list_tasks(
    database: Caller, user_id: str, status: Status, sort: Sort, limit: int, after: Position | None = None
) -> Rows:
    """At most `limit` tasks of the user in that order, from the start or from after a position."""
    values: dict[str, Any] = {"owner": user_id, "row_limit": limit}
    if status != "all":
        values["is_completed"] = status == "completed"
    if after is not None:
        values["after_id"] = after.id
        if after.key is not None:
            values["key"] = after.key
    statement = _list(sort, status != "all", after is not None, "key" in values)
    return await database.execute(statement, values)


# For `Database`, which refuses at start what it could not run. Those that are not here differ from these in a filter.
STATEMENTS = (
    *(_GET, _COUNT),
    *(_create(has_key) for has_key in (False, True)),
    *(_update(frozenset({"title"}), if_match, has_key) for if_match, has_key in product((False, True), repeat=2)),
    *(_toggle(if_match, has_key) for if_match, has_key in product((False, True), repeat=2)),
    *(_delete(if_match) for if_match in (False, True)),
    *(_list(sort, filtered=False, after=False, dated=False) for sort in _ORDER),
)
