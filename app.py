"""The site map: endpoints, the route table, the order of the middleware, and how the app starts and stops."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import cache
from typing import Any

from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Router

import store
from auth import JWTBackend, TokenVerifier
from database import Conflict, Database, DatabaseUnavailable, Rows
from keys import KeySet
from migrations.layout import prepare
from openapi.document import document
from openapi.page import docs
from paging import Position, next_link, write_token
from queries import accounts, changes, retries
from schemas import ChangesQuery, TaskComplete, TaskCreate, TaskQuery, TaskUpdate, changes_json, task_json, tasks_json
from settings import Settings, settings_or_exit
from web.conditions import changed, etag_of, expected, unless_known
from web.endpoints import caller, json_response, parse, task_id, task_response
from web.errors import HANDLERS, no_such_task, unauthenticated
from web.idempotency import idempotency_key
from web.log import configure_logging
from web.metrics import Metrics
from web.middleware import CORS, BodyLimit, RequestLog, Shield, TrailingSlash
from web.pieces import is_one_piece, pieces
from web.process import end_with_0, end_with_parent
from web.rate_limit import LimitRate, RateLimit
from web.routing import Resource
from web.task_limit import TaskLimit, TooManyTasks
from web.users import EnsureUser, UserRows

logger = logging.getLogger("todo")

STATEMENTS = (*accounts.STATEMENTS, *changes.STATEMENTS, *store.STATEMENTS)

# Tasks that the first query of a list without a limit asks for.
CHUNK = 250


async def list_tasks(request: Request) -> Response:
    query = TaskQuery.model_validate(dict(request.query_params))
    size = query.limit or CHUNK
    # One more than asked for tells whether there is more, without a second query.
    rows = await store.list_tasks(caller(request), request.user.id, query.status, query.sort, size + 1, query.cursor)
    page, more = rows[:size], len(rows) > size
    headers = {}
    if more and query.limit:
        parameters = query.model_dump(exclude={"cursor"}, exclude_unset=True)
        headers["Link"] = next_link(parameters, query.sort, page[-1])
    if (query.limit or not more) and is_one_piece(body := tasks_json(page)):
        return unless_known(request, body, headers=headers)

    async def fetch(count: int, after: Position) -> Rows:
        # Each piece has its own deadline, because a slow client may take long to read the one before.
        fresh = request.app.state.database.caller(request.user.id)
        return await store.list_tasks(fresh, request.user.id, query.status, query.sort, count, after)

    array = pieces(fetch, query.sort, page, page[-1].id if query.limit else None)
    return StreamingResponse(array, headers=headers, media_type="application/json")


async def create_task(request: Request) -> Response:
    values = (await parse(request, TaskCreate)).values()
    key = await idempotency_key(request)
    limit: TaskLimit | None = request.app.state.task_limit
    try:
        async with limit.admitted(caller(request), request.user.id) if limit else nullcontext():
            row = await with_user(request, lambda: store.create_task(caller(request), request.user.id, values, key))
    except TooManyTasks:
        # The last one may be of this very request, sent again.
        row = await retries.find_answer(caller(request), request.user.id, key) if key else None
        if row is None:
            raise
    return task_response(row, 201, {"Location": f"/api/tasks/{row.id}"}, key)


async def with_user(request: Request, change: Callable[[], Awaitable[Any]]) -> Any:
    """What the change gives; made once more when the user's row was deleted under this process."""
    try:
        return await change()
    except Conflict:
        await request.app.state.user_rows.restore(caller(request), request.user)
        return await change()


async def get_task(request: Request) -> Response:
    row = await store.get_task(caller(request), request.user.id, task_id(request))
    if row is None:
        raise no_such_task()
    return unless_known(request, task_json(row), etag_of(row))


async def update_task(request: Request) -> Response:
    return await apply(request, (await parse(request, TaskUpdate)).values())


async def patch_task(request: Request) -> Response:
    """The same partial update as PUT; its own function, because an `operationId` of the document is unique."""
    return await update_task(request)


async def toggle_task(request: Request) -> Response:
    changes = (await parse(request, TaskComplete)).values() if await request.body() else {}
    return await apply(request, changes or None)


async def apply(request: Request, values: Mapping[str, Any] | None) -> Response:
    """Make these changes of a task; flip `completed` where they are None."""
    key, user_id, id_, seen = await idempotency_key(request), request.user.id, task_id(request), expected(request)

    def change() -> Awaitable[Any]:
        if values is None:
            return store.toggle_task(caller(request), user_id, id_, seen, key)
        return store.update_task(caller(request), user_id, id_, values, seen, key)

    row = await with_user(request, change)
    return await not_found_or_changed(request) if row is None else task_response(row, key=key)


async def not_found_or_changed(request: Request) -> Response:
    """Why a change found no task: there is none, or it is not as If-Match wants it."""
    if not expected(request):
        raise no_such_task()
    row = await store.get_task(caller(request), request.user.id, task_id(request))
    if row is None:
        raise no_such_task()
    return changed(row)


async def delete_task(request: Request) -> Response:
    user_id, id_, seen = request.user.id, task_id(request), expected(request)
    if not await with_user(request, lambda: store.delete_task(caller(request), user_id, id_, seen)):
        return await not_found_or_changed(request)
    if request.app.state.task_limit:
        request.app.state.task_limit.deleted(request.user.id)
    return Response(status_code=204)


async def list_changes(request: Request) -> Response:
    query = ChangesQuery.model_validate(dict(request.query_params), context=request.user.id)
    user_id, size = request.user.id, query.limit
    found = await with_user(request, lambda: changes.list_changes(caller(request), user_id, query.since, size + 1))
    rows = found.rows[:size]
    while True:
        more = len(rows) < len(found.rows)
        since = found.after(rows[-1]) if more else found.after_all()
        body = changes_json(rows, write_token(user_id, since), more)
        if is_one_piece(body) or len(rows) == 1:
            return json_response(body)
        # The others are fetched again.
        rows = rows[: len(rows) // 2]


async def health(_: Request) -> Response:
    """Liveness: the process answers."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """Readiness: the database answers too, and has the tables."""
    await request.app.state.database.ready()
    return JSONResponse({"status": "ready"})


async def openapi(_: Request) -> Response:
    return json_response(openapi_document())


# Below /api, with a token.
API = [
    Resource("/tasks", GET=list_tasks, POST=create_task),
    Resource("/tasks/{id:task_id}", GET=get_task, PUT=update_task, PATCH=patch_task, DELETE=delete_task),
    Resource("/tasks/{id:task_id}/complete", PATCH=toggle_task),
    Resource("/changes", GET=list_changes),
]
# Without one.
SERVICE = [
    Resource("/health", GET=health),
    Resource("/ready", GET=ready),
    Resource("/openapi.json", GET=openapi),
    Resource("/docs", GET=docs),
]
# By the prefix of their paths.
SITE = {"/api": API, "": SERVICE}
# The templates of their paths, for the log and the metrics.
ROUTES = {resource.endpoint: prefix + resource.path_format for prefix, part in SITE.items() for resource in part}


@cache
def openapi_document() -> bytes:
    return to_json(document(SITE))


def create_app(settings: Settings) -> Starlette:
    """The whole app. The tables are created before its first query: at start, or later when no lifespan runs."""
    database = Database(settings.database, pool_size=settings.pool_size, prepare=prepare, statements=STATEMENTS)
    user_rows = UserRows()
    keys = KeySet(settings.keys_url)
    backend = JWTBackend(TokenVerifier(settings, keys))
    metrics = Metrics(database, keys) if settings.metrics_port else None
    rate_limit = RateLimit(settings.rate_limit, settings.rate_limit_storage) if settings.rate_limit else None
    # Inside the exception handlers, so that what these raise is answered like anything else.
    api_middleware = [
        Middleware(BodyLimit),
        Middleware(AuthenticationMiddleware, backend=backend, on_error=unauthenticated),
        *([Middleware(LimitRate, limit=rate_limit)] if rate_limit else []),
        Middleware(EnsureUser, database=database, rows=user_rows),
        Middleware(TrailingSlash),
    ]
    api = Mount("/api", Router(API, redirect_slashes=False), middleware=api_middleware)
    app = Starlette(
        routes=[api, *SERVICE],
        middleware=[
            Middleware(RequestLog, routes=ROUTES, metrics=metrics),
            Middleware(CORS, allowed_origins=settings.allowed_origins),
            Middleware(Shield),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.database, app.state.user_rows, app.state.metrics = database, user_rows, metrics
    app.state.task_limit = TaskLimit(settings.task_limit) if settings.task_limit else None
    app.state.rate_limit = rate_limit
    return app


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    end_with_parent()
    database: Database = app.state.database
    try:
        await database.ready()
        for remark in database.layout.remarks():
            logger.warning(remark)
    except DatabaseUnavailable as error:
        logger.warning("Started without the database; requests get a 503 until it can be reached: %s", error)
    limit: RateLimit | None = app.state.rate_limit
    async with limit.connected() if limit else nullcontext():
        with app.state.metrics.written() if app.state.metrics else nullcontext():
            yield
    database.close()


def __getattr__(name: str) -> Any:
    """Make `app` from the environment when a server or a test asks for it: `create_app` alone needs no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = settings_or_exit()
    configure_logging(settings.log_level, settings.log_format)
    end_with_0()
    globals()["app"] = create_app(settings)
    return globals()["app"]
