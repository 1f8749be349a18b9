"""What the endpoints have in common: what they take from a request, and how they answer."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any, TypeVar

from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from database import Caller, DatabaseUnavailable, ParentMissing
from queries.idempotency import IdempotencyKey
from schemas import TaskBody, task_json
from web.conditions import NO_HEADERS, etag_of
from web.errors import not_json
from web.idempotency import REPLAYED
from web.query import StatusQuery
from web.task_limit import TooManyTasks

Body = TypeVar("Body", bound=TaskBody)
Query = TypeVar("Query", bound=StatusQuery)

# Of a change, while the user's row is deleted meanwhile.
ATTEMPTS = 5


def caller(request: Request) -> Caller:
    """The database, on behalf of the authenticated user."""
    found: Caller = request.scope["caller"]
    return found


def fresh_caller(request: Request) -> Caller:
    """For a further piece of a long answer, with a deadline of its own: a slow client may read the former for long."""
    found: Caller = request.app.state.database.caller(request.user.id)
    return found


async def parse(request: Request, schema: type[Body]) -> Body:
    """The body as that schema: 400 when it is not, 403 when it names another owner."""
    return of_caller(request, schema.model_validate(await json_of(request)))


async def json_of(request: Request) -> Any:
    """The body; 400 when it is not JSON."""
    sent = await request.body()
    try:
        return from_json(sent, allow_inf_nan=False)
    except ValueError as error:
        raise not_json(request, sent, error) from None


def of_caller(request: Request, body: Body) -> Body:
    if body.user_id not in (None, request.user.id):
        raise HTTPException(403, "The body names another owner (user_id); a task is always its creator's.")
    return body


async def with_user(request: Request, change: Callable[[], Awaitable[Any]]) -> Any:
    """What the change gives; made again when the user's row was deleted under this process.

    Raises `DatabaseUnavailable` when it is deleted again and again.
    """
    for _ in range(ATTEMPTS):
        with suppress(ParentMissing):
            return await change()
        await request.app.state.user_rows.restore(caller(request), request.user)
    raise DatabaseUnavailable("the user's row is deleted again and again")


def query_of_many(request: Request, schema: type[Query]) -> Query:
    """The query of a change of many tasks; 400 for what it does not take."""
    given = request.query_params.multi_items()
    if len(given) > len(dict(given)):
        raise HTTPException(400, "A parameter of the query is given twice; give it once.")
    if "if-match" in request.headers:
        raise HTTPException(400, "If-Match is for a change of one task; leave it out for a change of many.")
    return schema.model_validate(dict(given))


async def within_limit(
    request: Request,
    count: int,
    create: Callable[[], Awaitable[Any]],
    key: IdempotencyKey | None,
    find: Callable[[Caller, str, IdempotencyKey], Awaitable[Any]],
) -> Any:
    """What `create` gives, which makes so many tasks.

    Raises `TooManyTasks`, unless they are those of this very request, sent again, which `find` gives.
    """
    database, user_id, limit = caller(request), request.user.id, request.app.state.task_limit
    try:
        async with limit.admitted(database, user_id, count) if limit else nullcontext():
            return await with_user(request, create)
    except TooManyTasks:
        found = await find(database, user_id, key) if key else None
        if found is None:
            raise
        return found


def deleted(request: Request) -> None:
    """Tell TASK_LIMIT that there may be room again."""
    if request.app.state.task_limit:
        request.app.state.task_limit.deleted(request.user.id)


def task_id(request: Request) -> int:
    found: int = request.path_params["id"]
    return found


def task_response(
    row: Any, status: int = 200, headers: Mapping[str, str] = NO_HEADERS, key: IdempotencyKey | None = None
) -> Response:
    return json_response(task_json(row), status, {**headers, **replayed(key), "ETag": etag_of(row)})


def replayed(key: IdempotencyKey | None) -> Mapping[str, str]:
    return REPLAYED if key and key.replayed else NO_HEADERS


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")
