"""The five operations: what is sent, over many people and tasks, so that no two requests in flight share a row."""

import json
import time
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from tests.support.tokens import token_of

OPERATIONS = ("list", "get", "create", "update", "toggle")
DAY = 86_400


class Request(NamedTuple):
    """One line of the file that load.lua reads."""

    method: str
    path: str
    token: str
    body: str = ""


@cache
def token(user_id: str) -> str:
    """An HS256 token of this person, as Better Auth signs one, good for a day."""
    return token_of(user_id, exp=int(time.time()) + DAY)


def requests_by_operation(
    tasks: Iterable[tuple[int, str]], readers: Sequence[str], makers: Sequence[str]
) -> dict[str, list[Request]]:
    """`tasks` are ids and owners. `makers` create, and so leave the lists of `readers` as long as they are."""
    owned = [(f"/api/tasks/{task_id}", token(owner)) for task_id, owner in tasks]
    return {
        "list": [Request("GET", "/api/tasks", token(reader)) for reader in readers],
        "get": [Request("GET", path, owner) for path, owner in owned],
        "create": [Request("POST", "/api/tasks", token(maker), _body(maker)) for maker in makers],
        "update": [Request("PUT", path, owner, _body(path, completed=True)) for path, owner in owned],
        "toggle": [Request("PATCH", f"{path}/complete", owner) for path, owner in owned],
    }


def _body(subject: str, **more: Any) -> str:
    return json.dumps({"title": f"Water the plants of {subject}", **more})
