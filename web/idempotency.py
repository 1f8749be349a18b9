"""Idempotency-Key: requests that are sent again have their effect once.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import hashlib
import re

from starlette.exceptions import HTTPException
from starlette.requests import Request

from queries.retries import Once

__all__ = ["REPLAYED", "Once", "idempotency_key"]

# Visible characters of ASCII. The draft wants a string in quotes; many clients leave them out, and both are taken as
# they are.
KEY = re.compile(r"[!-~]{1,255}")

REPLAYED = {"Idempotency-Replayed": "true"}


async def idempotency_key(request: Request) -> Once | None:
    """The request's key, with a fingerprint of its method, path and body; None without one. Raises a 400."""
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) > 1 or not KEY.fullmatch(keys[0]):
        raise HTTPException(
            400, "Idempotency-Key must be one key of 1 to 255 visible ASCII characters, such as a UUID."
        )
    described = f"{request.method} {request.scope['path']}?{request.url.query}\n".encode() + await request.body()
    return Once(keys[0], hashlib.sha256(described).hexdigest())
