"""The queries. Each function of tasks runs one statement, which is one round trip and one transaction.

Statements are built once, because building one costs more than running it, and select columns instead of objects. Each
statement on tasks constrains `user_id`, so that a task is reachable only through its owner.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Insert, Select, Update
from sqlmodel import and_, bindparam, case, delete, func, insert, null, or_, select, tuple_, update

from database import Caller, Conflict, DatabaseUnavailable, InvalidData, KeyTaken, Rows
from paging import Position, Sort, Status
from tables import DUE_DATE_KEY, TASKS, TITLE_KEY, UNDATED, USERS, now

# Attempts when concurrent writers conflict.
USER_ATTEMPTS = 5

# After rows were imported with their ids.
COUNTER_BEHIND = (
    "the counter of ids is behind; "
    "run SELECT setval(pg_get_serial_sequence('tasks', 'id'), (SELECT max(id) FROM tasks))"
)


class NoSuchAccount(Exception):
    """There is no such user in a table of users that another program owns."""


_user, _task = USERS.c, TASKS.c

# The columns of an answer.
_COLUMNS = [column for column in _task if column.name != "user_id"]
_OWN = _task.user_id == bindparam("owner")
_THIS = (_OWN, _task.id == bindparam("task_id"))


_GET_USER = select(_user.email, _user.name).where(_user.id == bindparam("user_id"))
_RELEASE_EMAIL = (
    update(USERS).where(_user.email == bindparam("new_email"), _user.id != bindparam("user_id")).values(email=null())
)
_INSERT_USER = insert(USERS).values(
    id=bindparam("user_id"),
    email=bindparam("new_email"),
    name=bindparam("new_name"),
    created_at=bindparam("now"),
)
_UPDATE_USER = (
    update(USERS)
    .where(_user.id == bindparam("user_id"))
    .values(email=bindparam("new_email"), name=bindparam("new_name"))
)


async def ensure_user(database: Caller, user_id: str, email: str | None, name: str | None) -> None:
    """Insert or update the row of this user, as far as the database can store the profile.

    One statement when the row is up to date, up to three otherwise. Raises `NoSuchAccount`, or `Conflict` or
    `InvalidData` when the database cannot store the row at all.
    """
    for profile in ((email, name), (email, None), (None, name)):
        # Raised for text that is too long for a column, or not in the encoding of the database.
        with suppress(InvalidData):
            return await _ensure_user(database, user_id, *profile)
    await _ensure_user(database, user_id, None, None)


async def _ensure_user(database: Caller, user_id: str, email: str | None, name: str | None) -> None:
    """Take the email away from any other row, then insert or update the row of this user."""
    attempt = 0
    while True:
        attempt += 1
        if attempt == USER_ATTEMPTS:
            # Other users keep taking this email. It identifies nobody, so do without.
            email = None
        values = {"user_id": user_id, "new_email": email, "new_name": name}
        row = _one(await database.execute(_GET_USER, values))
        if row is None and not database.layout.owns_users:
            raise NoSuchAccount
        # Another program's accounts are not ours to change: this token may be older than its last change.
        if row is not None and (tuple(row) == (email, name) or not database.layout.owns_users):
            return
        try:
            if email is not None:
                await database.execute(_RELEASE_EMAIL, values)
            await database.execute(_INSERT_USER if row is None else _UPDATE_USER, values | {"now": now()})
            return
        except Conflict:
            # Another call inserted this user, or took this email, in between.
            if attempt == USER_ATTEMPTS:
                raise


def _one(rows: Rows) -> Any:
    """The row, or None when there is none."""
    return rows[0] if rows else None


@cache
def _create(names: frozenset[str]) -> Insert:
    """The insert of these columns; the database fills the others."""
    values: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in sorted(names)}
    values |= {"user_id": bindparam("owner"), "created_at": bindparam("now"), "updated_at": bindparam("now")}
    return insert(TASKS).values(values).returning(*_COLUMNS)


async def create_task(database: Caller, user_id: str, values: Mapping[str, Any]) -> Any:
    """The new row. Raises `Conflict` when the user has no row, and `DatabaseUnavailable` when its new id is taken."""
    statement = _create(frozenset(values))
    try:
        return _one(await database.execute(statement, {"owner": user_id, "now": now(), **values}))
    except KeyTaken as error:
        raise DatabaseUnavailable(f"{error}; {COUNTER_BEHIND}") from None


_SELECT: Select[Any] = select(*_COLUMNS)
_GET = _SELECT.where(*_THIS)


async def get_task(database: Caller, user_id: str, task_id: int) -> Any:
    """The row, or None when the user has no such task. So do the functions below."""
    return _one(await database.execute(_GET, {"owner": user_id, "task_id": task_id}))


@cache
def _update(names: frozenset[str]) -> Update:
    """The update of these columns. `updated_at` changes only when one of them does."""
    new = {name: bindparam(f"new_{name}", type_=_task[name].type) for name in sorted(names)}
    changed = or_(*(_task[name].is_distinct_from(value) for name, value in new.items()))
    updated_at = case((changed, bindparam("now", type_=_task.updated_at.type)), else_=_task.updated_at)
    return update(TASKS).where(*_THIS).values(**new, updated_at=updated_at).returning(*_COLUMNS)


async def update_task(database: Caller, user_id: str, task_id: int, changes: Mapping[str, Any]) -> Any:
    """Change only the named columns. With no names, return the task as it is."""
    if not changes:
        return await get_task(database, user_id, task_id)
    values = {f"new_{name}": value for name, value in changes.items()}
    statement = _update(frozenset(changes))
    return _one(await database.execute(statement, {"owner": user_id, "task_id": task_id, "now": now(), **values}))


_TOGGLE = (
    update(TASKS).where(*_THIS).values(completed=~_task.completed, updated_at=bindparam("now")).returning(*_COLUMNS)
)


async def toggle_task(database: Caller, user_id: str, task_id: int) -> Any:
    return _one(await database.execute(_TOGGLE, {"owner": user_id, "task_id": task_id, "now": now()}))


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
    *(_GET_USER, _RELEASE_EMAIL, _INSERT_USER, _UPDATE_USER),
    *(_create(frozenset({"title", "completed"})), _GET, _update(frozenset({"title"})), _TOGGLE, _DELETE, _COUNT),
    *(_list(sort, filtered=False, after=False, dated=False) for sort in _ORDER),
)
