"""Keeps the table of users in step with the tokens that come in."""

import logging

from starlette.types import ASGIApp, Receive, Scope, Send

import store
from auth import Refused, User
from database import Caller, Conflict, Database, InvalidData

logger = logging.getLogger("todo.users")

# Users whose row this process knows to be up to date.
REMEMBERED_USERS = 10_000


class UserRows:
    """Ensures that a caller has a row, with one query when a process first sees this id, email and name.

    Of several tokens of one person that a process sees, the one issued last describes them.
    """

    def __init__(self) -> None:
        self._seen: dict[str, User] = {}

    async def ensure(self, database: Caller, user: User) -> None:
        """Raises `DatabaseUnavailable`, or `Refused` when there is no such account and none may be made."""
        seen = self._seen.get(user.id)
        if seen is not None and (seen == user or _issued(user) < _issued(seen)):
            if _issued(user) > _issued(seen):
                self._seen[user.id] = user
            return
        try:
            await store.ensure_user(database, user.id, user.email, user.name)
        except store.NoSuchAccount:
            raise Refused("The account that the token names does not exist; sign up, or sign in again.") from None
        except (Conflict, InvalidData) as error:
            logger.warning("The table users refuses an account: %s", error)
            raise Refused("The database cannot hold the account that the token names; use another one.") from None
        if len(self._seen) >= REMEMBERED_USERS:
            del self._seen[next(iter(self._seen))]
        self._seen[user.id] = user

    async def restore(self, database: Caller, user: User) -> None:
        """Give a row back to a user whose row was deleted under this process. Raises what `ensure` does."""
        self._seen.pop(user.id, None)
        await self.ensure(database, user)


def _issued(user: User) -> float:
    """Seconds since the epoch; a token that does not say is older than any that does."""
    return user.issued_at or 0.0


class EnsureUser:
    """Middleware inside the authentication: the first authenticated call makes the row, whatever call it is.

    It also gives the request its `Caller`, through which all of its statements go.
    """

    def __init__(self, app: ASGIApp, database: Database, rows: UserRows) -> None:
        self.app = app
        self.database, self.rows = database, rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user: User = scope["user"]
        scope["database"] = self.database.caller(user.id)
        await self.rows.ensure(scope["database"], user)
        await self.app(scope, receive, send)
