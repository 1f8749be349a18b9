"""The queries. Each function of tasks makes one round trip, which is one transaction: a statement, or a batch of them.

Statements are built once, because building one costs more than running it, and select columns instead of objects. Each
statement on tasks constrains `user_id`, so that a task is reachable only through its owner.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Executable, Insert, Select, Update

# SQLite has the same clause ON CONFLICT.
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlmodel import and_, bindparam, case, delete, false, func, insert, or_, select, tuple_, update

from database import Caller, DatabaseUnavailable, Executables, KeyTaken, Rows
from paging import Position, Sort, Status
from tables import DUE_DATE_KEY, IDEMPOTENCY_KEYS, TASKS, TITLE_KEY, UNDATED, now

# How long, and how many of one person's, the answers to requests with an `Idempotency-Key` are kept.
KEPT = timedelta(hours=24)
KEPT_KEYS = 1000

# After rows were imported with their ids.
COUNTER_BEHIND = "the counter of ids is behind; run "
COUNTER_BEHIND += "SELECT setval(pg_get_serial_sequence('tasks', 'id'), (SELECT max(id) FROM tasks))"


_task = TASKS.c

# The columns of an answer.
_COLUMNS = [column for column in _task if column.name != "user_id"]
_OWN = _task.user_id == bindparam("owner")
_THIS = (_OWN, _task.id == bindparam("task_id"))
_NOW = bindparam("now", type_=_task.created_at.type)


def _one(rows: Rows) -> Any:
    """The row, or None when there is none."""
    return rows[0] if rows else None


@dataclass
class Once:
    """A request that has its effect once, however often it is sent: its key, and what tells it from other requests."""

    key: str
    fingerprint: str
    # Set by the store: whether the answer is that to an earlier request.
    replayed: bool = False


class KeyReused(Exception):
    """The key belongs to another request of the same person."""


_kept = IDEMPOTENCY_KEYS.c
_OWN_KEY = _kept.user_id == bindparam("owner")
_THIS_KEY = (_OWN_KEY, _kept.key == bindparam("key"))
_OPEN_KEY = (*_THIS_KEY, _OPEN := and_(_kept.fingerprint == bindparam("fingerprint"), _kept.id.is_(None)))
_UNANSWERED = select(_kept.key).where(*_OPEN_KEY).exists()
_NEWEST = select(_kept.kept_at).where(_OWN_KEY).order_by(_kept.kept_at.desc())
_ONE_TOO_MANY = _NEWEST.offset(bindparam("kept_keys")).limit(bindparam("one")).scalar_subquery()
_OLD = or_(_kept.kept_at < bindparam("expired"), _kept.kept_at <= _ONE_TOO_MANY)
_FORGET_KEYS = delete(IDEMPOTENCY_KEYS).where(_OWN_KEY, _OLD)
# Waits while another request with the same key is under way, and keeps the key of an unanswered one from others.
_KEY: dict[str, Any] = {"key": bindparam("key"), "fingerprint": bindparam("fingerprint"), "kept_at": bindparam("now")}
_TAKE_KEY = insert_or(IDEMPOTENCY_KEYS).values(user_id=bindparam("owner"), **_KEY)
_TAKE_KEY = _TAKE_KEY.on_conflict_do_update(
    index_elements=[_kept.user_id, _kept.key],
    set_={"kept_at": bindparam("now")},
    where=_OPEN,
)
_ANSWER = select(_kept.fingerprint, _kept.kept_at, *(_kept[column.name] for column in _COLUMNS)).where(*_THIS_KEY)


def _once(change: Insert | Update, found: Iterable[ColumnElement[bool]]) -> tuple[Executable, ...]:
    """The batch that makes this change unless the key has an answer, and keeps as one the task that is found then."""
    answer = {column.name: column for column in _COLUMNS}
    keep = update(IDEMPOTENCY_KEYS).where(*found, *_OPEN_KEY).values(answer)
    return _FORGET_KEYS, _TAKE_KEY, change, keep, _ANSWER


@cache
def _create(names: frozenset[str], once: bool = False) -> Executables:
    """The insert of these columns; the database fills the others."""
    values: dict[str, ColumnElement[Any]] = {name: bindparam(name, type_=_task[name].type) for name in sorted(names)}
    values |= {"user_id": bindparam("owner", type_=_task.user_id.type), "created_at": _NOW, "updated_at": _NOW}
    if not once:
        return insert(TASKS).values(values).returning(*_COLUMNS)
    change = insert(TASKS).from_select(
        list(values), select(*values.values()).where(_UNANSWERED), include_defaults=False
    )
    # Only a twin of this task, made at the same microsecond, could be found in its place.
    return _once(change, (_OWN, _task.created_at == _NOW, _task.title == values["title"]))


async def create_task(database: Caller, user_id: str, values: Mapping[str, Any], once: Once | None = None) -> Any:
    """The new row. Raises `KeyReused`, `Conflict` without a row of the user, `DatabaseUnavailable` for a taken id."""
    statement = _create(frozenset(values), once is not None)
    try:
        return await _change(database, statement, {"owner": user_id, **values}, once)
    except KeyTaken as error:
        raise DatabaseUnavailable(f"{error}; {COUNTER_BEHIND}") from None


_SELECT: Select[Any] = select(*_COLUMNS)
_GET = _SELECT.where(*_THIS)


async def get_task(database: Caller, user_id: str, task_id: int) -> Any:
    """The row, or None when the user has no such task. So do the functions below."""
    return _one(await database.execute(_GET, {"owner": user_id, "task_id": task_id}))


@cache
def _update(names: frozenset[str], once: bool = False) -> Executables:
    """The update of these columns. `updated_at` changes only when one of them does."""
    new = {name: bindparam(f"new_{name}", type_=_task[name].type) for name in sorted(names)}
    changed = or_(false(), *(_task[name].is_distinct_from(value) for name, value in new.items()))
    return _on_this({**new, "updated_at": case((changed, _NOW), else_=_task.updated_at)}, once)


async def find_answer(database: Caller, user_id: str, once: Once) -> Any:
    """The row of the answer that is kept for this request, or None. Raises `KeyReused`."""
    return _answer(_one(await database.execute(_ANSWER, {"owner": user_id, "key": once.key})), once, None)


async def update_task(
    database: Caller, user_id: str, task_id: int, changes: Mapping[str, Any], once: Once | None = None
) -> Any:
    """Change only the named columns; of no names, none. Raises `KeyReused`; with a key `Conflict`, as a create does."""
    if not changes and not once:
        return await get_task(database, user_id, task_id)
    values = {"owner": user_id, "task_id": task_id, **{f"new_{name}": value for name, value in changes.items()}}
    return await _change(database, _update(frozenset(changes), once is not None), values, once)


@cache
def _toggle(once: bool = False) -> Executables:
    return _on_this({"completed": ~_task.completed, "updated_at": _NOW}, once)


async def toggle_task(database: Caller, user_id: str, task_id: int, once: Once | None = None) -> Any:
    """Flip `completed`. Raises what `update_task` does."""
    return await _change(database, _toggle(once is not None), {"owner": user_id, "task_id": task_id}, once)


def _on_this(values: Mapping[str, Any], once: bool) -> Executables:
    change = update(TASKS).where(*_THIS).values(values)
    return _once(change.where(_UNANSWERED), _THIS) if once else change.returning(*_COLUMNS)


async def _change(database: Caller, statement: Executables, values: Mapping[str, Any], once: Once | None) -> Any:
    """Run what `_create`, `_update` or `_toggle` made. Raises `KeyReused`."""
    moment = now()
    if once is None:
        return _one(await database.execute(statement, {**values, "now": moment}))
    of_the_key = {"key": once.key, "fingerprint": once.fingerprint, "expired": moment - KEPT, "kept_keys": KEPT_KEYS}
    kept = _one(await database.execute(statement, {**values, **of_the_key, "now": moment, "one": 1}))
    if kept is None:
        raise DatabaseUnavailable("the answer of the key was forgotten while it was looked for")
    return _answer(kept, once, moment)


def _answer(kept: Any, once: Once, moment: datetime | None) -> Any:
    """What is kept for this request, if anything is. A request of this very moment has not been answered before."""
    if kept is None:
        return None
    if kept.fingerprint != once.fingerprint:
        raise KeyReused
    once.replayed = kept.kept_at != moment
    return None if kept.id is None else kept


_DELETE = delete(TASKS).where(*_THIS).returning(_task.id)


async def delete_task(database: Caller, user_id: str, task_id: int) -> bool:
    """Whether there was such a task."""
    return bool(await database.execute(_DELETE, {"owner": user_id, "task_id": task_id}))


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
    *(_GET, _DELETE, _COUNT),
    *(_create(frozenset({"title", "completed"}), once) for once in (False, True)),
    *(_update(frozenset({"title"}), once) for once in (False, True)),
    *(_toggle(once) for once in (False, True)),
    *(_list(sort, filtered=False, after=False, dated=False) for sort in _ORDER),
)
