"""What the process logs, and in which form: lines of text, or with LOG_FORMAT=json one JSON object a line.

Imports nothing of ours, so that a failing import of anything else is logged in that form too.
"""

import json
import logging
import os
import re
import sys
import threading
import time
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NamedTuple, TextIO

JSON = "json"
UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")

# Characters of a path, a method or a user's id in the log; a user's id has at most 255.
LOGGED = 255
# What is shown as it is, in a third of the time: visible ASCII, which goes from ! to ~, without the backslash.
PLAIN = re.compile(rf"[!-\[\]-~]{{0,{LOGGED}}}")

# The ids of the request that is being served: `request_id`, and `trace_id` if its caller sent one. Emptied when it has
# been served, because timers and readers of the event loop keep the context in which they were made.
REQUEST: ContextVar[dict[str, str]] = ContextVar("REQUEST")


def printable(text: str) -> str:
    """The text as one word on one line, cut after `LOGGED` characters."""
    if PLAIN.fullmatch(text):
        return text
    shown = text[:LOGGED].encode("unicode_escape").decode().replace(" ", "\\x20")
    return shown if len(text) <= LOGGED else f"{shown}..."


class RequestLine(NamedTuple):
    """A message about a served request, as text and as members of an object."""

    request_id: str
    method: str
    path: str
    route: str
    status: int
    milliseconds: float
    user: str | None

    def __str__(self) -> str:
        request = f"{printable(self.method)} {printable(self.path)} {self.status} {self.milliseconds:.1f}ms"
        return f"{request} request_id={self.request_id} user={'-' if self.user is None else printable(self.user)}"

    def members(self) -> dict[str, Any]:
        return {
            "method": _cut(self.method),
            "path": _cut(self.path),
            "route": self.route,
            "status": self.status,
            "ms": round(self.milliseconds, 1),
            "user": self.user,
        }


def _cut(text: str) -> str:
    return text if len(text) <= LOGGED else f"{text[:LOGGED]}..."


class TextFormatter(logging.Formatter):
    """A line ends with the trace id, when the caller of the request sent one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        ids = REQUEST.get({})
        return f"{line} trace_id={ids['trace_id']}" if "trace_id" in ids else line


class JsonFormatter(logging.Formatter):
    """One object on one line of ASCII; `time` is RFC 3339, in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **REQUEST.get({}),
        }
        if isinstance(record.msg, RequestLine):
            line |= record.msg.members()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # A lone surrogate has no UTF-8, and readers of JSON refuse it.
        return json.dumps({name: _encodable(value) for name, value in line.items()})


def _encodable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


class JsonStandardError:
    """In the place of `sys.stderr`: logs each line of text that is written there, such as Python's last words."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._begun = stream, ""
        self._formatter = JsonFormatter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(None, lines):
            record = logging.LogRecord("stderr", logging.ERROR, "", 0, line, None, None)
            # Not by a handler, which reports its own failure here.
            self._stream.write(self._formatter.format(record) + "\n")
        return len(text)

    def flush(self) -> None:
        if self._begun:
            self.write("\n")
        self._stream.flush()


def begin_logging() -> None:
    """Log in JSON from the first line on, if the environment says so."""
    if os.getenv("LOG_FORMAT", "").lower() == JSON:
        _log_in_json()


def configure_logging(level: str, form: str) -> None:
    """Send the app's log lines to standard error, for the process that serves."""
    # httpx logs the query of JWKS_URL at each fetch of the keys; watchfiles reports every file that changes.
    for name in ("httpx", "watchfiles"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if form == JSON:
        _log_in_json()
        logging.root.setLevel(level)
        return
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter())
    logging.basicConfig(level=level, handlers=[handler])


def _log_in_json() -> None:
    if isinstance(sys.stderr, JsonStandardError):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.INFO)
    for logger in map(logging.getLogger, UVICORN):
        logger.handlers, logger.propagate = [], True
    sys.stderr = JsonStandardError(sys.stderr)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda ended: _log_uncaught(ended.exc_type, ended.exc_value, ended.exc_traceback)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, _: TracebackType | None) -> None:
    logging.getLogger("todo").critical("Not caught: %s", kind.__name__, exc_info=error)
