"""Listens to every answer of the suite, and compares it with the OpenAPI document."""

import json
from collections.abc import Sequence
from typing import Any

from starlette.types import Message, Receive, Scope, Send

import app
from web.middleware import RequestLog

DOCUMENT: dict[str, Any] = json.loads(app.openapi_document())

# What every HTTP answer with a body has; the media type is documented as `content`.
SELF_EVIDENT = {"content-length", "content-type"}


def resolved(item: dict[str, Any]) -> dict[str, Any]:
    """The component that a `$ref` of the document points to."""
    if "$ref" not in item:
        return item
    found: Any = DOCUMENT
    for part in item["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def operation(method: str, path: str) -> dict[str, Any] | None:
    """What the document says of this request; None for one that no route takes."""
    for prefix, resources in app.SITE.items():
        if not path.startswith(prefix):
            continue
        inner = path.removeprefix(prefix).removesuffix("/" if prefix else "")
        for resource in resources:
            if resource.path_regex.fullmatch(inner) and method in (resource.methods or ()):
                documented = DOCUMENT["paths"][prefix + resource.path_format]
                return dict(documented["get" if method == "HEAD" else method.lower()])
    return None


def undocumented(method: str, path: str, status: int, headers: Sequence[tuple[bytes, bytes]]) -> list[str]:
    """What this answer has that the document does not know."""
    known = operation(method, path)
    if known is None:
        return []
    where = f"{method} {path} {status}"
    if str(status) not in known["responses"]:
        return [where]
    response = resolved(known["responses"][str(status)])
    values = {name.decode().lower(): value.decode() for name, value in headers}
    names = SELF_EVIDENT | {name.lower() for name in response["headers"]}
    problems = [f"{where}: {name}" for name in sorted(values.keys() - names)]
    media_type = values.get("content-type", "").partition(";")[0]
    if media_type not in (response.get("content") or {"": None}):
        problems.append(f"{where}: content {media_type}")
    return problems


class AnswerLog:
    """What was answered while it stands, by any app, and is not in the document."""

    def __init__(self) -> None:
        self.undocumented: set[str] = set()
        self._original = RequestLog.__call__

        async def listening(log: RequestLog, scope: Scope, receive: Receive, send: Send) -> None:
            # The path changes on its way through the routes.
            method, path = scope.get("method", ""), scope.get("path", "")

            async def heard(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self.undocumented.update(undocumented(method, path, message["status"], message["headers"]))
                await send(message)

            await self._original(log, scope, receive, heard)

        RequestLog.__call__ = listening  # type: ignore[method-assign, assignment]

    def close(self) -> None:
        RequestLog.__call__ = self._original  # type: ignore[method-assign]
