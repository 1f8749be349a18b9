"""What the OpenAPI document says that neither routes nor schemas can: texts, examples, headers and statuses."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from schemas import ChangesQuery, ClearQuery, StatusQuery, TaskQuery

Object = dict[str, Any]

TASK = {
    "id": 1,
    "title": "Buy milk",
    "description": None,
    "completed": True,
    "due_date": None,
    "created_at": "2026-11-21T06:00:00.123456Z",
    "updated_at": "2026-11-21T06:00:01.123456Z",
}


def ref(kind: str, name: str) -> Object:
    return {"$ref": f"#/components/{kind}/{name}"}


def answer(
    description: str, content: Object | None = None, headers: Iterable[str] = (), media_type: str = "application/json"
) -> Object:
    """A response object. Every response has the headers that the middleware gives to each."""
    response: Object = {
        "description": description,
        "headers": {name: ref("headers", name) for name in [*headers, *HEADERS_OF_ALL]},
    }
    if content is not None:
        response["content"] = {media_type: content}
    return response


def header(description: str, example: str | int, required: bool = True, **schema: Any) -> Object:
    kind = "integer" if isinstance(example, int) else "string"
    return {"description": description, "required": required, "schema": {"type": kind, **schema}, "example": example}


_WITH_ORIGIN = "Sent when the request's `Origin` is allowed."

HEADERS_OF_ALL = {
    "X-Request-ID": header("The request's id, as in the log of the server.", "0123456789abcdef0123456789abcdef"),
    "Cache-Control": header(
        "Whether the answer may be kept; what has an `ETag` to a GET may, and is asked for.", "no-store"
    ),
    "X-Content-Type-Options": header("The media type must not be guessed.", "nosniff"),
    "Vary": header("What answers differ by: `Origin`, and `Authorization` where they may be kept.", "Origin"),
    "Access-Control-Allow-Origin": header(_WITH_ORIGIN, "http://localhost:3000", required=False),
    "Access-Control-Allow-Credentials": header(_WITH_ORIGIN, "true", required=False),
    "Access-Control-Expose-Headers": header(_WITH_ORIGIN, "Allow, Link", required=False),
}
_WITH_LIMIT = "Sent below `/api` once the token is verified, where the server has a limit (RATE_LIMIT); "
_WITH_LIMIT += "draft-ietf-httpapi-ratelimit-headers-11."
RATE_LIMIT = {
    "RateLimit-Policy": header(
        f"So many requests (`q`) a person may make in so many seconds (`w`). {_WITH_LIMIT}",
        '"person";q=600;w=60',
        required=False,
    ),
    "RateLimit": header(
        f"So many more (`r`) they may make within so many seconds (`t`). {_WITH_LIMIT}",
        '"person";r=599;t=60',
        required=False,
    ),
}
LIMITED = {name: ref("headers", name) for name in RATE_LIMIT}
HEADERS = (
    HEADERS_OF_ALL
    | RATE_LIMIT
    | {
        "Location": header("The address of the new task.", "/api/tasks/1", required=False),
        "Content-Disposition": header("RFC 6266.", 'attachment; filename="tasks.jsonl"'),
        "Link": header(
            'RFC 8288; `rel="next"` is the address of the next page. Absent from the last one.',
            '</api/tasks?limit=1&cursor=WyJjcmVhdGVkIiwi>; rel="next"',
            required=False,
        ),
        "Idempotency-Replayed": header(
            "The answer is that to an earlier request with this `Idempotency-Key`.", "true", required=False
        ),
        "ETag": header(
            "RFC 9110, section 8.8.3. Of a task: its `updated_at` in double quotes.",
            '"2026-11-21T06:00:00.123456Z"',
            required=False,
        ),
        "Retry-After": header("Seconds after which to try again.", 1, minimum=0),
        "WWW-Authenticate": header(
            "RFC 6750, section 3.",
            'Bearer error="invalid_token", error_description="The token has expired; get a new one."',
        ),
        "Content-Security-Policy": header("What the page may load.", "default-src 'none'"),
    }
)


def error(description: str, detail: str, headers: Iterable[str] = (), **members: Any) -> Object:
    content = {"schema": ref("schemas", "Error"), "example": {"detail": detail, **members}}
    return answer(description, content, [*headers, *RATE_LIMIT])


ERRORS = {
    400: error(
        "The body is not JSON, not an object or not valid, or the query is not valid.",
        "title must not be blank.",
        errors=[{"field": "title", "message": "must not be blank"}],
    ),
    401: error(
        "The token is missing, malformed, expired, forged or meant for somebody else.",
        "The token has expired; get a new one.",
        ["WWW-Authenticate"],
    ),
    403: error(
        "The body names another owner, or there would be more tasks than a person may have.",
        "The body names another owner (user_id); a task is always its creator's.",
    ),
    404: error("There is no such task, or it is somebody else's.", "There is no such task."),
    422: error(
        "The `Idempotency-Key` was used for another request.",
        "This Idempotency-Key was used for another request; make a new one for each request, and keep it for retries.",
    ),
    410: error(
        "The token is too old, or of a database that was restored since.",
        "This `since` is too old; start over without it, and drop the tasks that you have.",
    ),
    412: error(
        "The task has changed since; `task` is how it is now.",
        "The task has changed since you got it; look at `task`, and send your change again with its ETag.",
        ["ETag"],
        task=TASK,
    ),
    408: error("The file did not arrive in time.", "The file has not arrived within ten minutes; import it in parts."),
    413: error(
        "The body is larger than 64 KiB, or an imported file than 64 MiB or 100,000 tasks.",
        "The body is larger than 64 KiB.",
    ),
    429: error(
        "You have made as many requests as the server's limit allows.",
        "You have made as many requests as you may make (600 per minute); try again in 2 s.",
        ["Retry-After"],
    ),
    500: error("A defect of the server; it has been logged.", "Something is wrong on our side; it has been logged."),
    503: error(
        "The database or the key server cannot be reached, or too many requests wait.",
        "The database cannot be reached at present; try again shortly.",
        ["Retry-After"],
    ),
}


@dataclass(frozen=True)
class Operation:
    """What is particular to a route. Most errors follow from what it takes."""

    summary: str
    success: Mapping[int, Object]
    description: str = ""
    query: type[BaseModel] | None = None
    body: str | None = None
    body_required: bool = True
    # Whether an array of bodies is taken too.
    many: bool = False
    example: Object | None = None
    # A body that is not JSON, by its media type.
    file: Mapping[str, Object] | None = None
    errors: tuple[int, ...] = ()
    # Whether the answer has an ETag, and is left out where If-None-Match names it.
    may_be_known: bool = False


def task(description: str, headers: Iterable[str] = ()) -> Object:
    return answer(description, {"schema": ref("schemas", "Task")}, ["ETag", *headers])


def yes(status: str) -> Object:
    schema = {"type": "object", "required": ["status"], "properties": {"status": {"const": status}}}
    return answer("Yes.", {"schema": schema, "example": {"status": status}})


# What can be done with a new task.
LINKS = {
    name: {"operationId": name, "parameters": {"id": "$response.body#/id"}}
    for name in ("get_task", "update_task", "patch_task", "toggle_task", "delete_task")
}
KNOWN = "You have it: `If-None-Match` names its ETag."
REPLAYED = ["Idempotency-Replayed"]
COUNT = {
    "schema": {"type": "object", "required": ["count"], "properties": {"count": {"type": "integer", "minimum": 0}}},
    "example": {"count": 3},
}
# In either form.
FILE: Object = {
    "application/jsonl": {"schema": {"type": "string"}, "example": '{"title": "Buy milk", "completed": true}\n'},
    "text/csv": {"schema": {"type": "string"}, "example": "title,completed\r\nBuy milk,true\r\n"},
}
ME: Object = {
    "schema": ref("schemas", "Me"),
    "example": {"id": "ada", "email": "ada@example.com", "name": "Ada", "tasks": 12, "task_limit": None},
}
TASK_LIST = {"schema": {"type": "array", "items": ref("schemas", "Task")}}

CREATED = answer(
    "The new task, or the new tasks.",
    {"schema": {"oneOf": [ref("schemas", "Task"), TASK_LIST["schema"]]}},
    ["ETag", "Location", *REPLAYED],
) | {"links": LINKS}

# By the name of the route, which is that of its endpoint.
OPERATIONS = {
    "list_tasks": Operation(
        "List your tasks",
        {200: answer("The tasks.", TASK_LIST, ["ETag", "Link"]), 304: answer(KNOWN, None, ["ETag", "Link"])},
        "The whole list, or one page of it when `limit` is given. A list over 128 KiB is streamed, and has no ETag.",
        query=TaskQuery,
        may_be_known=True,
    ),
    "create_task": Operation(
        "Add a task, or up to 500 of them",
        {201: CREATED},
        "An array is answered with an array in the same order, without `Location` and `ETag`: all are made, or none.",
        body="TaskCreate",
        many=True,
        example={"title": "Buy milk", "description": "Two litres", "due_date": "2026-12-24"},
    ),
    "complete_tasks": Operation(
        "Complete all tasks, or take that back",
        {200: answer("How many were changed.", COUNT, REPLAYED)},
        "Of all tasks, or of those that have the status.",
        query=StatusQuery,
        body="TasksComplete",
        example={"completed": True},
    ),
    "delete_tasks": Operation(
        "Delete all completed tasks, or all pending ones",
        {200: answer("How many there were.", COUNT)},
        query=ClearQuery,
    ),
    "get_task": Operation(
        "Get a task", {200: task("The task."), 304: answer(KNOWN, None, ["ETag"])}, may_be_known=True
    ),
    "update_task": Operation(
        "Change a task",
        {200: task("The task as it is now.", REPLAYED)},
        "What is left out stays as it is; `null` clears `description` and `due_date`.",
        body="TaskUpdate",
        example={"description": "Three litres", "due_date": None},
    ),
    "patch_task": Operation(
        "Change a task, as PUT does",
        {200: task("The task as it is now.", REPLAYED)},
        "The same as PUT: what is left out stays as it is.",
        body="TaskUpdate",
        example={"title": "Buy milk and bread"},
    ),
    "delete_task": Operation("Delete a task", {204: answer("It is gone.")}),
    "toggle_task": Operation(
        "Complete a task, or take that back",
        {200: task("The task as it is now.", REPLAYED)},
        "`completed` is flipped without a body, or when the body leaves it out; else it is set, so that the request "
        "can be repeated.",
        body="TaskComplete",
        body_required=False,
        example={"completed": True},
    ),
    "list_changes": Operation(
        "What changed since",
        {200: answer("The changes, in their order.", {"schema": ref("schemas", "Changes")})},
        "Everything without `since`. Ask again with the `token` of the answer: at once where it says `more`, later for "
        "what changes next. A task may come again; ids are `deleted` for 30 days.",
        query=ChangesQuery,
        errors=(410,),
    ),
    "export_tasks": Operation(
        "Get all of your tasks as a file",
        {200: answer("The file, the oldest task first.", None, ["Content-Disposition"]) | {"content": FILE}},
        "JSON Lines, or CSV where `Accept` asks for it. What changes while it is sent may be in it or not.",
    ),
    "import_tasks": Operation(
        "Add the tasks of a file",
        {200: answer("How many were added.", COUNT, REPLAYED)},
        "All or none. Each task is as for `POST /api/tasks`, and `created_at` is kept; ids are new. At most 64 MiB and "
        "100,000 tasks.",
        file=FILE,
        errors=(408,),
    ),
    "get_me": Operation("What is kept of you", {200: answer("The account, and how many tasks it has.", ME)}),
    "delete_me": Operation(
        "Delete all that is kept of you",
        {204: answer("It is gone.")},
        "Every task, and the account where it is this API's. The same token may begin anew.",
    ),
    "health": Operation("Does the process answer?", {200: yes("ok")}),
    "ready": Operation("Does the database answer too?", {200: yes("ready")}, errors=(503,)),
    "openapi": Operation("This document", {200: answer("OpenAPI 3.1.", {"schema": {"type": "object"}})}),
    "docs": Operation(
        "This document, to read and to try",
        {
            200: answer(
                "A page.",
                {"schema": {"type": "string"}},
                ["Content-Security-Policy"],
                media_type="text/html",
            )
        },
    ),
}
