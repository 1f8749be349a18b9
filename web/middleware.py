"""The middleware, from the outside in. `BodyLimit` and `TrailingSlash` are for requests below /api alone."""

import logging
import random
import re
import time
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from database.errors import DatabaseUnavailable
from web.errors import error_response
from web.log import REQUEST, RequestLine, printable
from web.metrics import OTHER, Metrics
from web.trace import trace_id

access = logging.getLogger("todo.access")
logger = logging.getLogger("todo.errors")

MAXIMUM_BODY = 64 * 1024

# A request id of the caller's is used only in this form, because it is logged.
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

# What asks for these does so every few seconds; logged at DEBUG.
PROBES = ("/health", "/ready")

NOT_STORED = ((b"cache-control", b"no-store"),)

NO_ROUTES: Mapping[Any, str] = {}
NO_LIMITS: Mapping[str, int] = {}

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
RATE_LIMIT = ("RateLimit", "RateLimit-Policy")
EXPOSED = (
    *("Allow", "Content-Disposition", "ETag", "Idempotency-Replayed", "Link", "Location", *RATE_LIMIT, "Retry-After"),
    *("WWW-Authenticate", "X-Request-ID"),
)
VARY = {"Vary": "Origin"}
RAW_VARY = Headers(VARY).raw
NO_ORIGIN = "This origin is not allowed; set BETTER_AUTH_URL to it, or add it to CORS_ORIGINS."
# Seconds that a browser may remember a preflight; Chromium keeps none for longer.
PREFLIGHT_LIFETIME = 7200


class RequestLog:
    """Gives each request an id, and writes one line to the log for it. Of a valid `traceparent` it keeps the trace id.

    `routes` has the template of each endpoint; `metrics`, if any, counts the request.
    """

    def __init__(self, app: ASGIApp, routes: Mapping[Any, str] = NO_ROUTES, metrics: Metrics | None = None) -> None:
        self.app = app
        self.routes, self.metrics = routes, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # Not supported; the server answers 403.
            return await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, path = time.perf_counter(), scope["path"]
        ids = _ids(scope["headers"])
        scope.update(ids)
        REQUEST.set(ids)
        request_id = ids["request_id"].encode()
        # Starlette's patterns stop at a line feed. With this in its place a path matches no route, and below /api it
        # still needs a token.
        scope["path"] = path.replace("\n", "\ufffd")
        # Logged when the client disconnects before an answer, as nginx does.
        status = 499

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    *scope.get("rate_limit", ()),
                    (b"x-request-id", request_id),
                    *(() if b"cache-control" in dict(message["headers"]) else NOT_STORED),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            self._end(scope, path, status, time.perf_counter() - started)
        # Not after an exception, which the server logs.
        ids.clear()

    def _end(self, scope: Scope, path: str, status: int, seconds: float) -> None:
        route = self.routes.get(scope.get("endpoint"), OTHER)
        if self.metrics is not None:
            self.metrics.count(scope, route, status, seconds)
        level = logging.DEBUG if path in PROBES else logging.INFO
        if not access.isEnabledFor(level):
            return
        user = scope["user"].id if "user" in scope else None
        access.log(level, RequestLine(scope["request_id"], scope["method"], path, route, status, seconds * 1000, user))


def _ids(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    # `Headers` takes 2 µs for one that is missing.
    given = dict(headers)
    request_id = given.get(b"x-request-id", b"").decode("latin-1")
    if not REQUEST_ID.fullmatch(request_id):
        request_id = f"{random.getrandbits(128):032x}"
    ids = {"request_id": request_id}
    if b"traceparent" in given and (trace := trace_id(headers)):
        ids["trace_id"] = trace
    return ids


class CORS(CORSMiddleware):
    """Starlette's, for the allowed origins alone and with credentials (Fetch standard, section 3.3).

    Two parts are our own: by itself it sends some of the headers to other origins as well, and takes 10 of the app's
    60 µs for a request; and it does not log a preflight that it refuses.
    """

    def __init__(self, app: ASGIApp, allowed_origins: frozenset[str]) -> None:
        super().__init__(
            app,
            allow_origins=allowed_origins,
            allow_methods=METHODS,
            allow_headers=["*"],
            allow_credentials=True,
            allow_private_network=True,
            expose_headers=EXPOSED,
            max_age=PREFLIGHT_LIFETIME,
        )
        always = Headers(self.simple_headers | VARY).raw
        self.raw = {origin: [(b"access-control-allow-origin", origin.encode()), *always] for origin in allowed_origins}

    def preflight_response(self, request_headers: Headers) -> Response:
        origin, response = request_headers["origin"], super().preflight_response(request_headers)
        is_allowed = self.is_allowed_origin(origin)
        if response.status_code != 200:
            reason = bytes(response.body).decode() if is_allowed else NO_ORIGIN
            text = "Refused the preflight of a page of %s; allowed are %s. %s"
            logger.warning(text, printable(origin), ", ".join(sorted(self.allow_origins)), reason)
        return response if is_allowed else error_response(400, NO_ORIGIN, headers=VARY)

    async def simple_response(self, scope: Scope, receive: Receive, send: Send, request_headers: Headers) -> None:
        headers = self.raw.get(request_headers.get("origin", ""), RAW_VARY)

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self.app(scope, receive, send_with_cors)


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
            # There is nobody to answer.
            return
        except Exception as error:
            if started and isinstance(error.__cause__, DatabaseUnavailable):
                # The server closes the connection of an incomplete answer.
                logger.warning("Broke off the answer to request_id=%s: %s", scope["request_id"], error.__cause__)
                return
            if started:
                # The server logs it and closes the connection, so that the client sees an incomplete answer.
                raise
            logger.exception("500 for request_id=%s", scope["request_id"])
            response = error_response(500, "Something is wrong on our side; it has been logged.")
            await response(scope, receive, send)


class BodyLimit:
    """413 for a body over 64 KiB, announced or not. Starlette's own answers in plain text.

    `larger` has the bytes that some paths allow instead.
    """

    def __init__(self, app: ASGIApp, larger: Mapping[str, int] = NO_LIMITS) -> None:
        self.app = app
        self.larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        maximum = self.larger.get(scope["path"].removesuffix("/"), MAXIMUM_BODY)
        # A server has checked that it is a number; a test client has not.
        announced = dict(scope["headers"]).get(b"content-length", b"")[:20]
        if announced.isdigit() and int(announced) > maximum:
            raise _too_large(maximum)
        size = 0

        async def counted_receive() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > maximum:
                raise _too_large(maximum)
            return message

        await self.app(scope, counted_receive, send)


def _too_large(maximum: int) -> HTTPException:
    size = f"{maximum // 1024} KiB" if maximum < 1024 * 1024 else f"{maximum // 1024 // 1024} MiB"
    return HTTPException(413, f"The body is larger than {size}.")


class TrailingSlash:
    """Serves `/tasks/` as `/tasks`; a redirect behind a TLS proxy may lead browsers to http."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["path"] = scope["path"].removesuffix("/")
        await self.app(scope, receive, send)
