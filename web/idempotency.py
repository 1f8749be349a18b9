"""Idempotency-Key: requests that are sent again have their effect once.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import hashlib
import re

from starlette.exceptions import HTTPException
from starlette.requests import Request

from queries.idempotency import IdempotencyKey

# Visible characters of ASCII. The draft wants a string in quotes; many clients leave them out, and both are taken as
# they are.
KEY = re.compile(r"[!-~]{1,255}")

REPLAYED = {"Idempotency-Replayed": "true"}


async def idempotency_key(request: Request) -> IdempotencyKey | None:
    """The request's key, with a fingerprint of its method, path and body; None without one. Raises a 400."""
    key = key_of(request)
    if key is None:
        return None
    seen = fingerprint_of(request)
    seen.update(await request.body())
    return IdempotencyKey(key, seen.hexdigest())


def key_of(request: Request) -> str | None:
    """The key alone. Raises a 400."""
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) > 1 or not KEY.fullmatch(keys[0]):
        raise HTTPException(
            400, "Idempotency-Key must be one key of 1 to 255 visible ASCII characters, such as a UUID."
        )
    return keys[0]


def fingerprint_of(request: Request) -> "hashlib._Hash":
    """To be updated with the body."""
    return hashlib.sha256(f"{request.method} {request.scope['path']}?{request.url.query}\n".encode())
