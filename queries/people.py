"""What is kept of a person: to tell them, and to delete all of it."""

from typing import Any

from sqlalchemy import BindParameter
from sqlmodel import bindparam, delete, func, select, update

from database import Caller, ParentMissing
from tables import CHANGE_CLOCKS, DELETED_TASKS, IDEMPOTENCY_KEYS, TASKS, USERS

_user = USERS.c
_OWNER: BindParameter[str] = bindparam("owner")
_TASKS = select(func.count()).select_from(TASKS).where(TASKS.c.user_id == _OWNER).scalar_subquery()
_GET = select(_user.id, _user.email, _user.name, _TASKS.label("tasks")).where(_user.id == _OWNER)


async def get_person(database: Caller, user_id: str) -> Any:
    """The row of the user, with the number of their tasks. Raises `ParentMissing` without one."""
    rows = await database.execute(_GET, {"owner": user_id})
    if not rows:
        raise ParentMissing("the user's row is gone")
    return rows[0]


# Whoever changes tasks of the person holds the clock, and is waited for.
_HOLD = update(CHANGE_CLOCKS).where(CHANGE_CLOCKS.c.user_id == _OWNER).values(latest=CHANGE_CLOCKS.c.latest)
_OF_A_PERSON = (TASKS, DELETED_TASKS, IDEMPOTENCY_KEYS, CHANGE_CLOCKS)
_DELETE_ROWS = (_HOLD, *(delete(table).where(table.c.user_id == _OWNER) for table in _OF_A_PERSON))
_DELETE_ALL = (*_DELETE_ROWS, delete(USERS).where(_user.id == _OWNER))


async def delete_person(database: Caller, user_id: str) -> None:
    """Delete every row of the person, in one round trip; that of `users` only where no other program owns the table.

    Whoever comes again begins anew.
    """
    await database.execute(_DELETE_ALL if database.layout.owns_users else _DELETE_ROWS, {"owner": user_id})


# For `Database`, which refuses at start what it could not run.
STATEMENTS = (_GET, _DELETE_ROWS, _DELETE_ALL)
