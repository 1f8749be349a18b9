"""Keeps the table of users in step with the tokens that come in."""

from starlette.types import ASGIApp, Receive, Scope, Send

import store
from auth import User
from database import Database

# Users whose row this process knows to be up to date.
REMEMBERED_USERS = 10_000


class UserRows:
    """Ensures that a caller has a row, with one query at a process's first sight of (id, email, name)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[str, User] = {}

    async def ensure(self, user: User) -> None:
        """Raises `DatabaseUnavailable`."""
        if self._seen.get(user.id) == user:
            return
        await self._database.run(store.ensure_user, user.id, user.email, user.name)
        if len(self._seen) >= REMEMBERED_USERS:
            del self._seen[next(iter(self._seen))]
        self._seen[user.id] = user

    async def restore(self, user: User) -> None:
        """Give a row back to a user whose row was deleted under this process."""
        self._seen.pop(user.id, None)
        await self.ensure(user)


class EnsureUser:
    """Middleware inside the authentication: the first authenticated call makes the row, whatever call it is."""

    def __init__(self, app: ASGIApp, rows: UserRows) -> None:
        self.app = app
        self.rows = rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.rows.ensure(scope["user"])
        await self.app(scope, receive, send)
