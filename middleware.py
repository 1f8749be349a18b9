"""What every request passes through, as plain ASGI, from the outside in."""

import logging
import re
import time
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errors import error_response

access = logging.getLogger("todo.access")
logger = logging.getLogger("todo.errors")

MAXIMUM_BODY = 64 * 1024

# Taken over from the caller only in this form: it goes into the log.
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

METHODS = "GET, POST, PUT, PATCH, DELETE"
EXPOSED = "Link, Location, Retry-After, WWW-Authenticate, X-Request-ID"
# Seconds that a browser may remember a preflight; Chromium keeps none for longer.
PREFLIGHT_LIFETIME = 7200


class RequestLog:
    """Gives the request an id and the log one line, whatever happens inside."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # There are none here; the server makes a 403 of this.
            return await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, path = time.perf_counter(), scope["path"]
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex
        scope["request_id"] = request_id
        # Stays when the client has gone before there was an answer (as nginx has it).
        status = 499

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    (b"cache-control", b"no-store"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            milliseconds = (time.perf_counter() - started) * 1000
            access.info(
                "%s %s %d %.1fms request_id=%s user=%s",
                scope["method"],
                _printable(path),
                status,
                milliseconds,
                request_id,
                _printable(scope["user"].id) if "user" in scope else "-",
            )


def _printable(text: str) -> str:
    """One word on one line, whatever the caller sent."""
    return text.encode("unicode_escape").decode().replace(" ", "\\x20")


class CORS:
    """Cross-origin resource sharing for the allowed origins alone (Fetch standard, section 3.3).

    Starlette's own middleware gives some of the headers to every origin, and answers preflights in plain text.
    """

    def __init__(self, app: ASGIApp, allowed_origins: frozenset[str]) -> None:
        self.app = app
        self.allowed_origins = allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = Headers(scope=scope)
        origin = request.get("origin")
        allowed = origin if origin in self.allowed_origins else None

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                if allowed is not None:
                    headers["Access-Control-Allow-Origin"] = allowed
                    headers["Access-Control-Allow-Credentials"] = "true"
                    headers["Access-Control-Expose-Headers"] = EXPOSED
            await send(message)

        if origin and scope["method"] == "OPTIONS" and "access-control-request-method" in request:
            await self.preflight(request, allowed)(scope, receive, send_with_cors)
        else:
            await self.app(scope, receive, send_with_cors)

    def preflight(self, request: Headers, allowed: str | None) -> Response:
        vary = {"Vary": "Access-Control-Request-Method, Access-Control-Request-Headers"}
        if allowed is None:
            return error_response(400, "This origin is not allowed; add it to CORS_ORIGINS.", headers=vary)
        requested = request.get("access-control-request-headers", "Authorization, Content-Type")
        headers = {
            **vary,
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": requested,
            "Access-Control-Max-Age": str(PREFLIGHT_LIFETIME),
        }
        return Response(status_code=204, headers=headers)


class Shield:
    """Turns any uncaught exception into a logged JSON 500.

    It stands inside CORS, because Starlette's own 500 handler is outside of every middleware, and a browser shows an
    answer without CORS headers as a network failure.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except ClientDisconnect:
            # Nobody is left to be answered.
            return
        except Exception:
            if started:
                # The server logs it, and cuts the answer off, so that it cannot pass for a whole one.
                raise
            logger.exception("500 for request_id=%s", scope["request_id"])
            response = error_response(500, "Something is wrong on our side; it has been logged.")
            await response(scope, receive, send)


class BodyLimit:
    """413 for a body over 64 KiB, announced or not. Starlette's own answers in plain text."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Servers let no other than a number through; a test client might.
        announced = Headers(scope=scope).get("content-length", "")[:20]
        if announced.isdecimal() and int(announced) > MAXIMUM_BODY:
            raise HTTPException(413)
        size = 0

        async def counted_receive() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAXIMUM_BODY:
                raise HTTPException(413)
            return message

        await self.app(scope, counted_receive, send)


class TrailingSlash:
    """Serves `/tasks/` as `/tasks`; a redirect behind a TLS proxy may lead browsers to http."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["path"] = scope["path"].removesuffix("/")
        await self.app(scope, receive, send)
