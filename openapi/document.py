"""The OpenAPI 3.1 document: the route table, the Pydantic schemas, and what `operations` says of both."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from openapi.answers import ERRORS, HEADERS, LIMITED, Object, ref
from openapi.operations import OPERATIONS, TAGS, Operation
from paging import MAXIMUM_ID
from schemas import MAXIMUM_LIMIT, Me, TaskOut
from web.routing import Resource

DESCRIPTION = """\
Everybody's own tasks. Each request under `/api` carries `Authorization: Bearer <token>` with a token of Better Auth.

Unknown fields and parameters are ignored. A method that an address does not take is a 405 with `Allow`; HEAD is taken
wherever GET is; a trailing slash under `/api` makes no difference.
"""


def document(site: Mapping[str, Iterable[Resource]]) -> Object:
    """The document of these resources, by the prefix of their paths.

    Raises `KeyError` for an endpoint that `OPERATIONS` does not know.
    """
    paths = {
        prefix + resource.path_format: {
            method.lower(): _operation(method, endpoint.__name__, prefix, resource.path_format)
            for method, endpoint in resource.endpoints.items()
        }
        for prefix, resources in site.items()
        for resource in resources
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Todo API", "version": "1.0.0", "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "headers": HEADERS,
            "responses": {str(status): response for status, response in ERRORS.items()},
            "parameters": {"id": _PATH_ID} | {each["name"]: each for each in _HEADERS},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "RFC 6750."}
            },
        },
    }


_PATH_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "format": "int64", "minimum": 0, "maximum": MAXIMUM_ID},
    "example": 1,
}
_HEADERS: list[Object] = [
    {
        "name": "X-Request-ID",
        "in": "header",
        "description": "An id of the caller's for the log, and for the answer: 1 to 128 of `A-Z a-z 0-9 . _ -`. "
        "Any other is replaced by one of the server's.",
        "schema": {"type": "string"},
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A new one for each request, such as a UUID, and the same for its retries, which then have no "
        "effect and get the first answer again. Kept for 24 hours.",
        "schema": {"type": "string", "pattern": r"^[!-~]{1,255}$"},
    },
    {
        "name": "If-Match",
        "in": "header",
        "description": "The ETag of the task as you know it, which is its `updated_at` in double quotes: it is changed "
        "only if it is still the same. `*` is any task.",
        "schema": {"type": "string"},
    },
    {
        "name": "If-None-Match",
        "in": "header",
        "description": "ETags of answers that you have. A 304 without a body says that one of them is still good.",
        "schema": {"type": "string"},
    },
]


def _operation(method: str, name: str, prefix: str, path: str) -> Object:
    known = OPERATIONS[name]
    private, has_id, takes_body = bool(prefix), "{id}" in path, known.body is not None
    changes_task = has_id and method != "GET"
    errors = {
        *known.errors,
        500,
        *((401, 413, 429, 503) if private else ()),
        *((400,) if known.query or takes_body or changes_task else ()),
        *((412,) if changes_task else ()),
        *((403, 422) if takes_body else ()),
        *((404,) if has_id else ()),
    }
    parameters = [ref("parameters", "X-Request-ID"), *_query(known.query)]
    if takes_body:
        parameters.append(ref("parameters", "Idempotency-Key"))
    if changes_task:
        parameters.append(ref("parameters", "If-Match"))
    if known.conditional:
        parameters.append(ref("parameters", "If-None-Match"))
    operation: Object = {
        "operationId": name,
        "summary": known.summary,
        "tags": [known.tag],
        "parameters": [ref("parameters", "id"), *parameters] if has_id else parameters,
        "responses": {
            str(status): response | {"headers": response["headers"] | (LIMITED if private else {})}
            for status, response in known.success.items()
        }
        | {str(status): ref("responses", str(status)) for status in sorted(errors)},
    }
    if known.description:
        operation["description"] = known.description
    if known.body:
        operation["requestBody"] = _body(known, known.body)
    if private:
        operation["security"] = [{"bearer": []}]
    return operation


def _body(known: Operation, body: type[BaseModel]) -> Object:
    if known.file:
        return {"required": True, "content": known.file}
    schema = ref("schemas", body.__name__)
    if known.many:
        array = {"type": "array", "minItems": 1, "maxItems": MAXIMUM_LIMIT, "items": schema}
        schema = {"oneOf": [schema, array]}
    content = {"schema": schema, "example": known.example}
    return {"required": known.body_required, "content": {"application/json": content}}


class _Schema(GenerateJsonSchema):
    """Without the titles that repeat the names of fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def _query(model: type[BaseModel] | None) -> list[Object]:
    if model is None:
        return []
    whole = model.model_json_schema(schema_generator=_Schema)
    parameters = []
    for name, schema in whole["properties"].items():
        description = schema.pop("description")
        # A parameter is left out, never null.
        if schema.get("default", "") is None:
            del schema["default"]
        schema = schema.get("anyOf", [schema])[0]
        parameter = {"name": name, "in": "query", "description": description, "schema": schema}
        parameters.append(parameter | ({"required": True} if name in whole.get("required", ()) else {}))
    return parameters


def _schemas() -> Object:
    models = [known.body for known in OPERATIONS.values() if known.body]
    bodies = {model.__name__: model.model_json_schema(schema_generator=_Schema) for model in models}
    for body in bodies.values():
        # Client generators treat a property with a default as required.
        for schema in body["properties"].values():
            schema.pop("default", None)
    answers = {
        "Task": TypeAdapter(TaskOut).json_schema(mode="serialization", schema_generator=_Schema),
        "Changes": _CHANGES,
        "Me": TypeAdapter(Me).json_schema(mode="serialization", schema_generator=_Schema),
        "Error": _ERROR,
    }
    return {name: schema | {"title": name} for name, schema in (answers | bodies).items()}


_TASK = ref("schemas", "Task")
_CHANGES = {
    "type": "object",
    "required": ["tasks", "deleted", "token", "more"],
    "properties": {
        "tasks": {"type": "array", "description": "Made or changed since, as they are now.", "items": _TASK},
        "deleted": {"type": "array", "description": "The ids of those deleted since.", "items": {"type": "integer"}},
        "token": {"type": "string", "description": "The sync token, opaque: the `since` of the next request."},
        "more": {"type": "boolean", "description": "Whether there are more changes already; ask again at once."},
    },
}
_FIELD = "Such as `title`, or `[1].title` of an array; `body` for the whole."
_FIELD_ERROR = {
    "type": "object",
    "required": ["field", "message"],
    "properties": {
        "line": {"type": "integer", "minimum": 1, "description": "The line of an imported file, from 1."},
        "field": {"type": "string", "description": _FIELD},
        "message": {"type": "string"},
    },
}
_ERROR = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "detail": {"type": "string", "description": "A sentence that a person can act on."},
        "task": {"description": "How it is now, in a 412.", **_TASK},
        "errors": {
            "type": "array",
            "description": "What is wrong with each field, in a 400; of an import, the first hundred.",
            "items": _FIELD_ERROR,
        },
    },
}
