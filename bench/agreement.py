"""Everybody answers the same, status and body, or nobody is timed."""

import json
import re
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from bench.contestants import Server
from bench.load import BenchError
from bench.operations import OPERATIONS, Request
from bench.stage import Stage
from tests.support.tokens import FRONTEND

# Of the contract. Whatever else an answer has, nobody else needs to have.
FIELDS = ("id", "title", "description", "completed", "due_date", "created_at", "updated_at")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
# What differs between two runs of the same operation; its form may not.
OF_THE_MOMENT = {"create": ("id", "created_at", "updated_at"), "update": ("updated_at",), "toggle": ("updated_at",)}

Answer = tuple[int, str | None, Any]


class Client:
    """One connection to a server, kept alive."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=60)

    def send(self, request: Request) -> tuple[int, str | None, bytes]:
        """The status, the origin that CORS allows, and the body."""
        headers = {"Authorization": f"Bearer {request.token}", "Origin": FRONTEND}
        if request.body:
            headers["Content-Type"] = "application/json"
        self._connection.request(request.method, request.path, request.body.encode() or None, headers)
        response = self._connection.getresponse()
        return response.status, response.headers["Access-Control-Allow-Origin"], response.read()

    def close(self) -> None:
        self._connection.close()


def check_agreement(stage: Stage) -> None:
    """Raises `BenchError` naming the first answer that is not the first server's, and restores the tasks."""
    expected = answers(stage, stage.servers[0])
    for server in stage.servers[1:]:
        for what, answer in answers(stage, server).items():
            if answer != expected[what]:
                raise BenchError(f"{server.name} answers {what} with {answer}, and not with {expected[what]}.")


def answers(stage: Stage, server: Server) -> dict[str, Answer]:
    client = Client(server.url)
    found = {name: _masked(name, *client.send(stage.requests[name][7])) for name in OPERATIONS}
    own, other = stage.requests["get"][7:9]
    for what, token in ("another's task", other.token), ("a bad token", own.token[:-8] + "AAAAAAAA"):
        # Only the status: everybody words the refusal in their own way.
        found[what] = client.send(own._replace(token=token))[0], None, None
    client.close()
    stage.restore(server)
    wrong = [what for what, answer in found.items() if answer[0] != EXPECTED.get(what, 200)]
    if wrong:
        raise BenchError(f"{server.name} answers {wrong[0]} with status {found[wrong[0]][0]}.")
    return found


EXPECTED = {"create": 201, "another's task": 404, "a bad token": 401}


def _masked(operation: str, status: int, origin: str | None, body: bytes) -> Answer:
    """The fields of the contract in their order; what is of the moment is replaced by whether it looks right."""
    value = json.loads(body)
    tasks = [list(_fields(task)) for task in (value if isinstance(value, list) else [value])]
    return status, origin, [[(name, _form(operation, name, each)) for name, each in task] for task in tasks]


def _fields(task: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, each) for name, each in task.items() if name in FIELDS)


def _form(operation: str, name: str, value: Any) -> Any:
    if name not in OF_THE_MOMENT.get(operation, ()):
        return value
    return bool(TIMESTAMP.fullmatch(str(value))) if name.endswith("_at") else type(value)
