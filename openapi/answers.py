"""What the OpenAPI document says of answers: their headers, and those that are errors."""

from collections.abc import Iterable
from typing import Any

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
    "Vary": header(
        "What answers differ by: `Origin`, `Accept` of an export, and `Authorization` where they may be kept.", "Origin"
    ),
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
        "The body is not JSON, not an object or not valid; a line of a file is not; or the query is not.",
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
    408: error(
        "The file did not arrive within ten minutes, or arrives at less than 8 KiB a second.",
        "The file arrives too slowly; import it in parts, or over a better connection.",
    ),
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
