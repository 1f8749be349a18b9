"""How a request finds its endpoint: a path with an endpoint for each method, and the id of a task in it."""

import re
from collections.abc import Awaitable, Callable

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from paging import MAXIMUM_ID
from web.errors import no_such_task

Endpoint = Callable[[Request], Awaitable[Response]]

ID = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class Resource(Route):
    """A path with an endpoint for each of its methods, so that Starlette's 405 names them all. GET serves HEAD too."""

    def __init__(self, path: str, **endpoints: Endpoint) -> None:
        served = endpoints | {"HEAD": endpoints["GET"]} if "GET" in endpoints else endpoints

        async def answer(request: Request) -> Response:
            return await served[request.method](request)

        super().__init__(path, answer, methods=endpoints)
        self.endpoints = endpoints


class TaskId(Convertor[int]):
    """A 64-bit integer as the API writes it. There is no task with any other id: 404."""

    regex = "[^/]+"

    def convert(self, value: str) -> int:
        if not ID.fullmatch(value) or int(value) > MAXIMUM_ID:
            raise no_such_task()
        return int(value)


register_url_convertor("task_id", TaskId())
