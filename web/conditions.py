"""Requests that depend on what the caller has seen: ETag, If-Match and If-None-Match (RFC 9110, sections 8.8.3 and 13).

The ETag of a task is its `updated_at` in quotes, so that whoever has the task has its tag. That of a list is a hash.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from schemas import task_json, timestamp
from web.errors import error_response

# A proxy that compresses answers makes tags weak. Ours name one state of a task all the same, so weak ones are taken.
TAG = re.compile(r'(?:W/)?("[^"]*")')
OF_A_TASK = re.compile(r'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)"')
# Of no task: another program's tag.
MATCHES_NO_TASK = datetime.fromisoformat("0001-01-01T00:00:00+00:00")

NO_HEADERS: Mapping[str, str] = {}

# The browser may keep the answer, and asks each time whether it is still good; for the person of this token alone.
REVALIDATED = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


def etag_of(row: Any) -> str:
    return f'"{timestamp(row.updated_at)}"'


def expected(request: Request) -> datetime | None:
    """The `updated_at` that If-Match wants the task to have; None for any. Raises a 400."""
    sent = request.headers.getlist("if-match")
    if not sent or sent == ["*"]:
        return None
    tag = TAG.fullmatch(sent[0])
    if len(sent) > 1 or not tag:
        raise HTTPException(
            400, 'If-Match must be one ETag, which is the `updated_at` of the task in double quotes, or "*" alone.'
        )
    known = OF_A_TASK.fullmatch(tag[1])
    try:
        return datetime.fromisoformat(known[1]) if known else MATCHES_NO_TASK
    except ValueError:
        return MATCHES_NO_TASK


def changed(row: Any) -> JSONResponse:
    """412 with the task as it is now."""
    detail = "The task has changed since you got it; look at `task`, and send your change again with its ETag."
    return error_response(412, detail, headers={"ETag": etag_of(row)}, task=from_json(task_json(row)))


def unless_known(
    request: Request, body: bytes, etag: str | None = None, headers: Mapping[str, str] = NO_HEADERS
) -> Response:
    """The body, or a 304 without it when If-None-Match says that the caller has it."""
    if etag is None:
        # What is in the headers may change while the body does not.
        etag = f'"{hashlib.blake2b(body + str(headers).encode(), digest_size=16).hexdigest()}"'
    headers = {**headers, **REVALIDATED, "ETag": etag}
    known = ",".join(request.headers.getlist("if-none-match"))
    if known == "*" or etag in TAG.findall(known):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
