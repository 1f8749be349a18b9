"""What changed since."""

from starlette.requests import Request
from starlette.responses import Response

from endpoints.exchange import caller, json_response, with_user
from paging import write_token
from queries import changes
from schemas import changes_json
from web.pieces import is_one_piece
from web.query import ChangesQuery


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
