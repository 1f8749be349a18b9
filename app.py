"""The site map: endpoints, the route table, the order of the middleware, and how the app starts and stops."""

import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Concatenate, ParamSpec, TypeVar

from pydantic_core import from_json, to_json
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Match, Mount, Route, Router

import store
from auth import JWTBackend, TokenVerifier
from database import Database, DatabaseUnavailable
from docs import docs
from errors import HANDLERS, http_exception, unauthenticated
from keys import KeySet
from middleware import CORS, BodyLimit, RequestLog, Shield, TrailingSlash
from openapi import document
from paging import MAXIMUM_ID, next_link, position
from schemas import TaskCreate, TaskQuery, TaskUpdate, task_json, tasks_json
from settings import Settings, configure_logging, end_with_0, settings_or_exit
from tables import create_tables
from users import EnsureUser, UserRows

logger = logging.getLogger("todo")

P = ParamSpec("P")
T = TypeVar("T")
Body = TypeVar("Body", TaskCreate, TaskUpdate)

# Tasks that the first query of a list without a limit asks for.
FIRST = 250
# Bytes of JSON that a longer list goes out in, roughly; what has not gone out yet is in the database.
PIECE = 64 * 1024

TASK_ID = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


async def list_tasks(request: Request) -> Response:
    query = TaskQuery.model_validate(dict(request.query_params))
    size = query.limit or FIRST
    # One more than asked for tells whether there is more, without a second query.
    rows = await run(request, store.list_tasks, query.status, query.sort, size + 1, query.cursor)
    page, more = rows[:size], len(rows) > size
    headers = {"Link": next_link(request.query_params, query.sort, page[-1])} if more and query.limit else None
    if query.limit or not more:
        body = tasks_json(page)
        if len(body) <= 2 * PIECE:
            return json_response(body, headers=headers)
    end = page[-1].id if query.limit else None
    return StreamingResponse(chunks(request, query, page, end), headers=headers, media_type="application/json")


async def chunks(
    request: Request, query: TaskQuery, rows: Sequence[store.TaskRow], end: int | None
) -> AsyncIterator[bytes]:
    """The array in pieces; of a page, up to the task `end`, behind which the next page begins whatever has changed.

    While a client reads, however slowly, no connection is held between two pieces, and no row.
    """
    opening, last, left = b"[", 0, 2 * (query.limit or MAXIMUM_ID)
    while rows and last != end and left > 0:
        rows, body = first_piece(rows)
        last, after = rows[-1].id, position(query.sort, rows[-1])
        left -= len(rows)
        count = min(max(PIECE * len(rows) // len(body), 8), 500)
        piece, rows, body = opening + body[1:-1], (), b""
        yield piece
        opening = b","
        rows = until(end, await run(request, store.list_tasks, query.status, query.sort, count, after))
    yield b"]"


def first_piece(rows: Sequence[store.TaskRow]) -> tuple[Sequence[store.TaskRow], bytes]:
    """The first of these rows and their JSON, which is not much larger than a piece."""
    body = tasks_json(rows)
    while len(body) > 2 * PIECE and len(rows) > 1:
        rows = rows[: len(rows) // 2]
        body = tasks_json(rows)
    return rows, body


def until(end: int | None, rows: Sequence[store.TaskRow]) -> Sequence[store.TaskRow]:
    ids = [row.id for row in rows]
    return rows[: ids.index(end) + 1] if end in ids else rows


async def create_task(request: Request) -> Response:
    values = (await parse(request, TaskCreate)).values()
    try:
        row = await run(request, store.create_task, values)
    except IntegrityError:
        # The user's row was deleted under this process.
        await request.app.state.user_rows.restore(request.user)
        row = await run(request, store.create_task, values)
    return task_response(row, 201, headers={"Location": f"/api/tasks/{row.id}"})


async def get_task(request: Request) -> Response:
    return task_response(await run(request, store.get_task, task_id(request)))


async def update_task(request: Request) -> Response:
    changes = (await parse(request, TaskUpdate)).values()
    return task_response(await run(request, store.update_task, task_id(request), changes))


async def toggle_task(request: Request) -> Response:
    return task_response(await run(request, store.toggle_task, task_id(request)))


async def delete_task(request: Request) -> Response:
    if not await run(request, store.delete_task, task_id(request)):
        raise no_such_task()
    return Response(status_code=204)


async def health(_: Request) -> Response:
    """Liveness: the process answers."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """Readiness: the database answers too."""
    await request.app.state.database.run(store.ping)
    return JSONResponse({"status": "ready"})


async def openapi(_: Request) -> Response:
    return json_response(openapi_document())


API_ROUTES = [
    Route("/tasks", list_tasks, methods=["GET"]),
    Route("/tasks", create_task, methods=["POST"]),
    Route("/tasks/{id}", get_task, methods=["GET"]),
    Route("/tasks/{id}", update_task, methods=["PUT"]),
    Route("/tasks/{id}", delete_task, methods=["DELETE"]),
    Route("/tasks/{id}/complete", toggle_task, methods=["PATCH"]),
]
ROUTES = [
    Route("/health", health, methods=["GET"]),
    Route("/ready", ready, methods=["GET"]),
    Route("/openapi.json", openapi, methods=["GET"]),
    Route("/docs", docs, methods=["GET"]),
]

# Each after the prefix of its path.
ALL_ROUTES = [*(("/api", route) for route in API_ROUTES), *(("", route) for route in ROUTES)]

for _, route in ALL_ROUTES:
    # Starlette ends its pattern with `$`, which also matches before a newline at the end.
    route.path_regex = re.compile(route.path_regex.pattern.removesuffix("$") + r"\Z")


@cache
def openapi_document() -> bytes:
    return to_json(document(ALL_ROUTES))


def create_app(settings: Settings) -> Starlette:
    """The whole app. Tables are created before its first query, be it at start or, without a lifespan, later."""
    database = Database(settings.database, pool_size=settings.pool_size, prepare=create_tables)
    user_rows = UserRows(database)
    backend = JWTBackend(TokenVerifier(settings, KeySet(settings.keys_url)))
    # Inside the exception handlers, so that what these raise is answered like anything else.
    api_middleware = [
        Middleware(BodyLimit),
        Middleware(AuthenticationMiddleware, backend=backend, on_error=unauthenticated),
        Middleware(EnsureUser, rows=user_rows),
        Middleware(TrailingSlash),
    ]
    api = Mount("/api", Router(API_ROUTES, redirect_slashes=False), middleware=api_middleware)
    # Mount's own pattern stops at a newline, and such a path would be answered without authentication.
    api.path_regex = re.compile(r"/api/(?P<path>.*)", re.DOTALL)
    app = Starlette(
        routes=[api, *ROUTES],  # tried in this order
        middleware=[
            Middleware(RequestLog),
            Middleware(CORS, allowed_origins=settings.allowed_origins),
            Middleware(Shield),
        ],
        exception_handlers=HANDLERS | {405: method_not_allowed},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.database, app.state.user_rows = database, user_rows
    return app


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    database: Database = app.state.database
    try:
        await database.run(store.ping)
    except DatabaseUnavailable as error:
        logger.warning("Started without the database, and answers 503 until it comes: %s", error)
    yield
    database.close()


async def run(
    request: Request, function: Callable[Concatenate[Session, str, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a store function for the caller, and for nobody else."""
    database: Database = request.app.state.database
    return await database.run(function, request.user.id, *args, **kwargs)


async def parse(request: Request, schema: type[Body]) -> Body:
    """The body as that schema: 400 when it is not, 403 when it names another owner."""
    try:
        data = from_json(await request.body(), allow_inf_nan=False)
    except ValueError as error:
        raise HTTPException(400, f"The body is not valid JSON: {error}.") from None
    body = schema.model_validate(data)
    if body.user_id not in (None, request.user.id):
        raise HTTPException(403, "The body names another owner (user_id); a task is always its creator's.")
    return body


def task_id(request: Request) -> int:
    """The id in the path: a 64-bit integer as the API writes it, or else there is no such task."""
    text = request.path_params["id"]
    if not TASK_ID.fullmatch(text) or int(text) > MAXIMUM_ID:
        raise no_such_task()
    return int(text)


def no_such_task() -> HTTPException:
    """The same for a task that is not there and for one that is somebody else's."""
    return HTTPException(404, "There is no such task.")


def task_response(row: store.TaskRow | None, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    if row is None:
        raise no_such_task()
    return json_response(task_json(row), status, headers)


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


async def method_not_allowed(request: Request, _: HTTPException) -> Response:
    """405 naming the methods of all routes with this path; Starlette names those of the first one."""
    methods = {
        method
        for route in [*ROUTES, *API_ROUTES]
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return await http_exception(request, HTTPException(405, headers={"Allow": ", ".join(sorted(methods))}))


def __getattr__(name: str) -> Any:
    """Make `app` from the environment when a server or a test asks for it: `create_app` alone needs no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = settings_or_exit()
    configure_logging(settings.log_level)
    end_with_0()
    globals()["app"] = create_app(settings)
    return globals()["app"]
