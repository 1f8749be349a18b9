"""The person who calls: what is kept of them, and the end of it."""

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from endpoints.exchange import caller, deleted, json_response, with_user
from queries import people
from web.task_limit import TaskLimit


async def get_me(request: Request) -> Response:
    row = await with_user(request, lambda: people.get_person(caller(request), request.user.id))
    limit: TaskLimit | None = request.app.state.task_limit
    return json_response(to_json({**row._asdict(), "task_limit": limit and limit.limit}))


async def delete_me(request: Request) -> Response:
    # Another program may have made the table of users its own since the start.
    await request.app.state.database.ready()
    await people.delete_person(caller(request), request.user.id)
    request.app.state.user_rows.forget(request.user.id)
    deleted(request)
    return Response(status_code=204)
