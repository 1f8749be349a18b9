"""The rows of users: one statement when a row is up to date, up to three otherwise. Only an id identifies a user."""

from contextlib import suppress

from sqlmodel import bindparam, insert, null, select, update

from database import Caller, Conflict, InvalidData
from tables import USERS, now

# Attempts when concurrent writers conflict.
USER_ATTEMPTS = 5


class NoSuchAccount(Exception):
    """There is no such user in a table of users that another program owns."""


_user = USERS.c
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
        rows = await database.execute(_GET_USER, values)
        row = rows[0] if rows else None
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


# For `Database`, which refuses at start what it could not run.
STATEMENTS = (_GET_USER, _RELEASE_EMAIL, _INSERT_USER, _UPDATE_USER)
