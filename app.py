"""The site map: the route table, the order of the middleware, and how the app starts and stops."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import cache
from typing import Any

from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Router

import store
from auth import JWTBackend, TokenVerifier
from database import Database, DatabaseUnavailable
from endpoints.changes import list_changes
from endpoints.exchange import json_response
from endpoints.me import delete_me, get_me
from endpoints.service import health, ready
from endpoints.tasks import (
    complete_tasks,
    create_task,
    delete_task,
    delete_tasks,
    get_task,
    list_tasks,
    patch_task,
    toggle_task,
    update_task,
)
from endpoints.transfer import Imports, export_tasks, import_tasks
from keys import KeySet
from migrations.layout import prepare
from openapi.document import document
from openapi.page import docs
from queries import accounts, bulk, changes, idempotency, people, transfer
from settings import Settings, settings_or_exit
from web.errors import HANDLERS, unauthenticated
from web.log import configure_logging
from web.metrics import Metrics
from web.middleware import CORS, BodyLimit, RequestLog, Shield, TrailingSlash
from web.process import end_with_0, end_with_parent
from web.rate_limit import LimitRate, RateLimit
from web.routing import Resource
from web.task_limit import TaskLimit
from web.upload import MAXIMUM_FILE
from web.users import EnsureUser, UserRows

logger = logging.getLogger("todo")

ROOMS = (accounts, bulk, changes, idempotency, people, store, transfer)
STATEMENTS = [each for room in ROOMS for each in room.STATEMENTS]


async def openapi(_: Request) -> Response:
    return json_response(openapi_document())


# Below /api, with a token.
API = [
    Resource("/tasks", GET=list_tasks, POST=create_task, PATCH=complete_tasks, DELETE=delete_tasks),
    Resource("/tasks/{id:task_id}", GET=get_task, PUT=update_task, PATCH=patch_task, DELETE=delete_task),
    Resource("/tasks/{id:task_id}/complete", PATCH=toggle_task),
    Resource("/changes", GET=list_changes),
    Resource("/export", GET=export_tasks),
    Resource("/import", POST=import_tasks),
    Resource("/me", GET=get_me, DELETE=delete_me),
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
# Bytes that a body may have, where it is more than elsewhere.
LARGER = {"/api/import": MAXIMUM_FILE}
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
        Middleware(BodyLimit, larger=LARGER),
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
    app.state.rate_limit, app.state.imports = rate_limit, Imports()
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
