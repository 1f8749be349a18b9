"""The middleware, from the outside in. `BodyLimit` and `TrailingSlash` are for requests below /api alone."""

import logging
import random
import re
import time

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from database.errors import DatabaseUnavailable
from web.errors import error_response

access = logging.getLogger("todo.access")
logger = logging.getLogger("todo.errors")

MAXIMUM_BODY = 64 * 1024

# Characters of a path or a user's id in the log; a user's id has at most 255.
LOGGED = 255

# A request id of the caller's is used only in this form, because it is logged.
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
EXPOSED = ("Allow", "Link", "Location", "Retry-After", "WWW-Authenticate", "X-Request-ID")
VARY = {"Vary": "Origin"}
RAW_VARY = Headers(VARY).raw
NO_ORIGIN = "This origin is not allowed; set BETTER_AUTH_URL to it, or add it to CORS_ORIGINS."
# Seconds that a browser may remember a preflight; Chromium keeps none for longer.
PREFLIGHT_LIFETIME = 7200


class RequestLog:
    """Gives each request an id, and writes one line to the log for it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # Not supported; the server answers 403.
            return await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, path = time.perf_counter(), scope["path"]
        # `Headers` takes 2 µs for one that is missing.
        request_id = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        if not REQUEST_ID.fullmatch(request_id):
            request_id = f"{random.getrandbits(128):032x}"
        scope["request_id"] = request_id
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
                    (b"x-request-id", request_id.encode()),
                    (b"cache-control", b"no-store"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            if access.isEnabledFor(logging.INFO):
                _write_line(scope, path, status, (time.perf_counter() - started) * 1000)


def _write_line(scope: Scope, path: str, status: int, milliseconds: float) -> None:
    user = _printable(scope["user"].id) if "user" in scope else "-"
    request = (_printable(scope["method"]), _printable(path))
    access.info("%s %s %d %.1fms request_id=%s user=%s", *request, status, milliseconds, scope["request_id"], user)


def _printable(text: str) -> str:
    """The text as one word on one line, cut after LOGGED characters."""
    shown = text[:LOGGED].encode("unicode_escape").decode().replace(" ", "\\x20")
    return shown + "..." * (len(text) > LOGGED)


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
            logger.warning(text, _printable(origin), ", ".join(sorted(self.allow_origins)), reason)
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
    """413 for a body over 64 KiB, announced or not. Starlette's own answers in plain text."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A server has checked that it is a number; a test client has not.
        announced = dict(scope["headers"]).get(b"content-length", b"")[:20]
        if announced.isdigit() and int(announced) > MAXIMUM_BODY:
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
