"""The one shape of an error, and the exceptions that become one."""

import http
import logging
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse

from auth import Refused
from database.errors import Conflict, DatabaseUnavailable, InvalidData
from keys import KeyServerUnavailable, NoKeysYet
from queries.changes import TokenTooOld
from queries.idempotency import KeyReused

logger = logging.getLogger("todo.errors")

# Seconds after which a 503 is worth another try.
RETRY_AFTER = 1

DETAILS = {
    404: "There is nothing at this address.",
    405: "This address allows only these methods: {Allow}.",
}

# What a browser sends for a form (HTML standard, section 4.10.21.5), and curl for `-d`.
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
SEND_JSON = 'send a JSON object such as {"title": "Buy milk"}, with the header Content-Type: application/json'

# By Pydantic's error type, filled in from its context.
MESSAGES = {
    "missing": "is required",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "string_too_short": "must not be blank",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "extra_forbidden": "is not taken here",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} tasks",
    "value_error": "{error}",
    "int_parsing_size": "is too large",
    "model_type": "must be a JSON object",
}


def error_response(
    status: int,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    **members: Any,
) -> JSONResponse:
    return JSONResponse({"detail": detail, **members}, status, headers)


def unauthenticated(connection: HTTPConnection, error: Any) -> JSONResponse:
    """401 for a `Refused`, with the challenge of RFC 6750, section 3. Its reason is in the scope, for the metrics."""
    reason = connection.scope["refused"] = error.reason
    code = "invalid_request" if reason in ("missing", "header") else "invalid_token"
    challenge = f'Bearer error="{code}", error_description="{error}"'
    return error_response(401, str(error), headers={"WWW-Authenticate": challenge})


async def refused(request: Request, error: Refused) -> JSONResponse:
    """401 for what is known only after the token was verified."""
    return unauthenticated(request, error)


async def http_exception(_: Request, error: HTTPException) -> JSONResponse:
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
    standard = error.detail == http.HTTPStatus(error.status_code).phrase
    detail = DETAILS.get(error.status_code, error.detail).format(**headers) if standard else error.detail
    return error_response(error.status_code, detail, headers=headers)


def not_json(request: Request, body: bytes, error: ValueError) -> HTTPException:
    """400 that says what to send instead."""
    if not body:
        return HTTPException(400, f"The body is empty; {SEND_JSON}.")
    if request.headers.get("content-type", "").lower().startswith(FORMS):
        return HTTPException(400, f"The body is form data; {SEND_JSON}.")
    return HTTPException(400, f"The body is not valid JSON: {error}.")


def no_such_task() -> HTTPException:
    """The same for a task that is not there and for one that is somebody else's."""
    return HTTPException(404, "There is no such task.")


def _field(place: tuple[int | str, ...]) -> str:
    """Of an array, such as `[2].title`."""
    first, *more = place or ("body",)
    return f"[{first}]" + "".join(f".{name}" for name in more[:1]) if isinstance(first, int) else first


def explained(error: ValidationError) -> list[tuple[str, str]]:
    """Each field, or `body`, and what is wrong with it."""
    return [
        (_field(item["loc"]), MESSAGES.get(item["type"], item["msg"]).format(**item.get("ctx", {})))
        for item in error.errors(include_url=False, include_input=False)
    ]


async def invalid_input(_: Request, error: ValidationError) -> JSONResponse:
    """400 with a message for each field. Only what callers send is validated, so it is never a defect of the app."""
    errors = [{"field": field, "message": message} for field, message in explained(error)]
    detail = "; ".join(f"{item['field']} {item['message']}" for item in errors)
    return error_response(400, f"{detail}.", errors=errors)


async def not_storable(request: Request, error: Conflict | InvalidData) -> JSONResponse:
    """400 for a valid value that the database refuses, because of a table or an encoding that are not ours."""
    logger.warning("400 for request_id=%s: %s", request.scope["request_id"], error)
    field = "query" if request.method == "GET" else "body"
    message = f"has a value that the database refuses: {error}; write it differently, shorter or in other characters"
    return error_response(400, f"{field} {message}.", errors=[{"field": field, "message": message}])


async def key_reused(_: Request, __: KeyReused) -> JSONResponse:
    """422, as the draft has it: the one error of validation that is no 400."""
    detail = (
        "This Idempotency-Key was used for another request; make a new one for each request, and keep it for retries."
    )
    return error_response(422, detail)


async def token_too_old(_: Request, __: TokenTooOld) -> JSONResponse:
    return error_response(410, "This `since` is too old; start over without it, and drop the tasks that you have.")


async def unavailable(request: Request, error: DatabaseUnavailable | KeyServerUnavailable) -> JSONResponse:
    logger.warning("503 for request_id=%s: %s", request.scope["request_id"], error)
    what = "key server" if isinstance(error, KeyServerUnavailable) else "database"
    detail = f"The {what} cannot be reached at present; try again shortly."
    if isinstance(error, NoKeysYet):
        detail = "No keys could be fetched since this API started; check its BETTER_AUTH_URL and JWKS_URL."
    return error_response(503, detail, headers={"Retry-After": str(RETRY_AFTER)})


# Starlette's type of a handler knows only `Exception`.
HANDLERS: dict[Any, Any] = {
    HTTPException: http_exception,
    ValidationError: invalid_input,
    Refused: refused,
    KeyReused: key_reused,
    TokenTooOld: token_too_old,
    Conflict: not_storable,
    InvalidData: not_storable,
    DatabaseUnavailable: unavailable,
    KeyServerUnavailable: unavailable,
}
