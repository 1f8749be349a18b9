"""Keeps the rows of users up to date with their tokens."""

import logging

from starlette.types import ASGIApp, Receive, Scope, Send

from auth import Refused, User
from database import Caller, Conflict, Database, InvalidData
from queries import accounts

logger = logging.getLogger("todo.users")

# Users whose rows a process remembers as up to date.
REMEMBERED_USERS = 10_000


class UserRows:
    """Makes sure that a caller has a row: one query when a process first sees this id, email and name.

    Of all tokens of a person that a process has seen, the one issued last (`iat`) counts.
    """

    def __init__(self) -> None:
        self._seen: dict[str, User] = {}

    async def ensure(self, database: Caller, user: User) -> None:
        """Raises `DatabaseUnavailable`, or `Refused` when there is no such account and none may be made."""
        seen = self._seen.get(user.id)
        if seen is user:
            # The same token as last time.
            return
        if seen is not None and (seen == user or _issued(user) < _issued(seen)):
            if _issued(user) > _issued(seen):
                self._seen[user.id] = user
            return
        try:
            await accounts.ensure_user(database, user.id, user.email, user.name)
        except accounts.NoSuchAccount:
            message = "The account that the token names does not exist; sign up, or sign in again."
            raise Refused(message, "account") from None
        except (Conflict, InvalidData) as error:
            logger.warning("The table users refuses an account: %s", error)
            message = "The database cannot store the account of this token; sign in with another one."
            raise Refused(message, "account") from None
        if len(self._seen) >= REMEMBERED_USERS:
            del self._seen[next(iter(self._seen))]
        self._seen[user.id] = user

    async def restore(self, database: Caller, user: User) -> None:
        """Insert the row again after another program deleted it. Raises what `ensure` does."""
        self.forget(user.id)
        await self.ensure(database, user)

    def forget(self, user_id: str) -> None:
        """Look for the row again at the next request."""
        self._seen.pop(user_id, None)


def _issued(user: User) -> float:
    """Seconds since 1970; 0 for a token without `iat`, so that any other is newer."""
    return user.issued_at or 0.0


class EnsureUser:
    """Middleware: the first authenticated request of a person makes the row, whatever the request is.

    Puts the `Caller`, through which all statements of the request go, into the scope as `caller`.
    """

    def __init__(self, app: ASGIApp, database: Database, rows: UserRows) -> None:
        self.app = app
        self.database, self.rows = database, rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user: User = scope["user"]
        scope["caller"] = self.database.caller(user.id)
        await self.rows.ensure(scope["caller"], user)
        await self.app(scope, receive, send)
