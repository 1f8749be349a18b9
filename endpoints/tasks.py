"""The tasks of a person: list, create, get, update, toggle, delete; and many at once."""

from collections.abc import Awaitable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

import store
from database import Rows
from endpoints.exchange import (
    caller,
    deleted,
    fresh_caller,
    json_of,
    json_response,
    of_caller,
    parse,
    query_of_many,
    replayed,
    task_id,
    task_response,
    with_user,
    within_limit,
)
from paging import Position, next_link
from queries import bulk
from queries.idempotency import IdempotencyKey
from schemas import (
    TASKS_CREATE,
    TaskComplete,
    TaskCreate,
    TasksComplete,
    TaskUpdate,
    task_json,
    tasks_json,
)
from web.conditions import changed, etag_of, expected, unless_known
from web.errors import no_such_task
from web.idempotency import idempotency_key
from web.pieces import FIRST_ROWS, is_one_piece, pieces
from web.query import ClearQuery, StatusQuery, TaskQuery


async def list_tasks(request: Request) -> Response:
    query = TaskQuery.model_validate(dict(request.query_params))
    size = query.limit or FIRST_ROWS
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
        database, user_id = fresh_caller(request), request.user.id
        return await store.list_tasks(database, user_id, query.status, query.sort, count, after)

    array = pieces(fetch, query.sort, page, page[-1].id if query.limit else None)
    return StreamingResponse(array, headers=headers, media_type="application/json")


async def create_task(request: Request) -> Response:
    """One task, or all those of an array."""
    sent, key = await json_of(request), await idempotency_key(request)
    if isinstance(sent, list):
        return await create_many(request, sent, key)
    values = of_caller(request, TaskCreate.model_validate(sent)).values()
    database, user_id = caller(request), request.user.id
    row = await within_limit(
        request, 1, lambda: store.create_task(database, user_id, values, key), key, store.find_created
    )
    return task_response(row, 201, {"Location": f"/api/tasks/{row.id}"}, key)


async def create_many(request: Request, sent: list[Any], key: IdempotencyKey | None) -> Response:
    tasks = [of_caller(request, task).values() for task in TASKS_CREATE.validate_python(sent)]
    database, user_id = caller(request), request.user.id
    rows = await within_limit(
        request, len(tasks), lambda: bulk.create_tasks(database, user_id, tasks, key), key, bulk.find_created
    )
    return json_response(tasks_json(rows), 201, replayed(key))


async def complete_tasks(request: Request) -> Response:
    status = query_of_many(request, StatusQuery).status
    body = await parse(request, TasksComplete)
    key, user_id = await idempotency_key(request), request.user.id
    count = await with_user(request, lambda: bulk.complete_tasks(caller(request), user_id, body.completed, status, key))
    return JSONResponse({"count": count}, headers=replayed(key))


async def delete_tasks(request: Request) -> Response:
    completed = query_of_many(request, ClearQuery).status == "completed"
    count = await with_user(request, lambda: bulk.delete_tasks(caller(request), request.user.id, completed))
    deleted(request)
    return JSONResponse({"count": count})


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
    deleted(request)
    return Response(status_code=204)
