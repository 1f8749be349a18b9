"""The OpenAPI document: valid, whole, and true. Every answer of the whole suite is compared with it."""

import json
import re
from collections import namedtuple
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from app import SITE
from openapi import page
from openapi.answers import TASK
from openapi.document import document
from schemas import TaskCreate
from tests.support.documented import DOCUMENT, operation, resolved, undocumented
from web.files import FORMS
from web.middleware import METHODS
from web.routing import Resource

pytestmark = pytest.mark.database("any")

OPERATIONS = [(method, path, item) for path, items in DOCUMENT["paths"].items() for method, item in items.items()]
REQUIRED = [(b"x-request-id", b"1"), (b"content-type", b"application/json")]


def test_served_to_anybody(client: TestClient) -> None:
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


def test_valid() -> None:
    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)


def test_every_route_of_the_app_is_in_it(app: Starlette) -> None:
    served = set()
    for route in app.routes:
        inner = [route] if isinstance(route, Route) else route.routes if isinstance(route, Mount) else []
        prefix = route.path if isinstance(route, Mount) else ""
        for each in inner:
            assert isinstance(each, Route)
            served |= {(method, prefix + each.path_format) for method in (each.methods or set()) - {"HEAD"}}
    assert served == {(method.upper(), path) for method, path, _ in OPERATIONS}
    assert {method for method, _ in served} == set(METHODS)


def test_a_route_without_a_description_is_refused() -> None:
    async def secret(_: Request) -> Response:
        raise AssertionError

    with pytest.raises(KeyError, match="secret"):
        document({**SITE, "/more": [Resource("/secret", GET=secret)]})


@pytest.mark.parametrize("item", [item for *_, item in OPERATIONS], ids=lambda item: item["operationId"])
def test_examples_fit_their_schemas(item: dict[str, Any]) -> None:
    contents = [resolved(response).get("content") for response in item["responses"].values()]
    contents.append(item.get("requestBody", {}).get("content"))
    for content in contents:
        for media in (content or {}).values():
            if "example" in media:
                schema = {**media["schema"], "components": DOCUMENT["components"]}
                OAS31Validator(schema, format_checker=OAS31Validator.FORMAT_CHECKER).validate(media["example"])


def test_the_example_of_a_task_fits_it() -> None:
    schema = DOCUMENT["components"]["schemas"]["Task"]
    example = {name: values["examples"][0] for name, values in schema["properties"].items()}
    OAS31Validator(schema, format_checker=OAS31Validator.FORMAT_CHECKER).validate(example)


@pytest.mark.parametrize("media_type", FORMS)
def test_the_examples_of_files_are_what_is_exported_and_can_be_imported(ada: TestClient, media_type: str) -> None:
    exported = DOCUMENT["paths"]["/api/export"]["get"]["responses"]["200"]["content"][media_type]["example"]
    moments = {name: datetime.fromisoformat(str(TASK[name])) for name in ("created_at", "updated_at")}
    row = namedtuple("row", TASK)(**TASK | moments)
    assert exported.encode() == FORMS[media_type].opening + FORMS[media_type].write([row])

    imported = DOCUMENT["paths"]["/api/import"]["post"]["requestBody"]["content"][media_type]["example"]
    for file in (exported, imported):
        answer = ada.post("/api/import", content=file, headers={"Content-Type": media_type})
        assert answer.json() == {"count": 1}


def test_each_tag_is_described_and_used() -> None:
    described = {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}
    assert {tag for *_, item in OPERATIONS for tag in item["tags"]} == described
    assert all(len(item["tags"]) == 1 for *_, item in OPERATIONS)


def test_private_operations_and_no_others_ask_for_the_token() -> None:
    for _, path, item in OPERATIONS:
        assert item.get("security") == ([{"bearer": []}] if path.startswith("/api/") else None)
        assert ("401" in item["responses"]) == path.startswith("/api/")


def test_every_parameter_is_described() -> None:
    listed = DOCUMENT["paths"]["/api/tasks"]["get"]
    parameters = {item["name"]: item for item in map(resolved, listed["parameters"])}
    assert list(parameters) == ["X-Request-ID", "status", "sort", "limit", "cursor", "If-None-Match"]
    assert parameters["status"]["schema"] == {
        "type": "string",
        "enum": ["all", "pending", "completed"],
        "default": "all",
    }
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 500}
    assert parameters["cursor"]["schema"] == {"type": "string"}


def test_schemas_of_bodies() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["TaskCreate"]["required"] == ["title"]
    assert "required" not in schemas["TaskUpdate"]
    assert schemas["TaskCreate"]["properties"]["title"]["maxLength"] == 200
    assert schemas["TaskImport"]["properties"].keys() - schemas["TaskCreate"]["properties"].keys() == {"created_at"}
    assert "`TaskImport`" in DOCUMENT["paths"]["/api/import"]["post"]["description"]
    assert schemas["Task"]["properties"]["created_at"].items() >= {"type": "string", "format": "date-time"}.items()


def test_the_pattern_of_a_title_allows_the_characters_that_the_api_takes_alone() -> None:
    pattern = re.compile(DOCUMENT["components"]["schemas"]["TaskCreate"]["properties"]["title"]["pattern"])
    characters = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    taken = []
    for character in characters:
        with suppress(ValidationError):
            taken.append(TaskCreate(title=character).title)

    assert taken == [character for character in characters if pattern.search(character)]
    assert len(taken) > 60_000


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "found"),
    [
        ("GET", "/api/tasks", 200, REQUIRED, []),
        ("HEAD", "/api/tasks/", 200, REQUIRED, []),
        ("GET", "/api/tasks", 418, REQUIRED, ["GET /api/tasks 418"]),
        ("GET", "/api/tasks/1", 200, [*REQUIRED, (b"X-New", b"1")], ["GET /api/tasks/1 200: x-new"]),
        ("GET", "/api/tasks/1", 200, [*REQUIRED, (b"location", b"/")], ["GET /api/tasks/1 200: location"]),
        ("GET", "/ready", 200, [(b"content-type", b"text/plain")], ["GET /ready 200: content text/plain"]),
        ("DELETE", "/api/tasks/1", 204, REQUIRED[1:], ["DELETE /api/tasks/1 204: content application/json"]),
        ("PUT", "/nowhere", 418, REQUIRED, []),
    ],
)
def test_the_suite_would_notice(
    method: str, path: str, status: int, headers: list[tuple[bytes, bytes]], found: list[str]
) -> None:
    """What an answer has and the document has not is found (see `conftest.every_answer_is_documented`)."""
    assert undocumented(method, path, status, headers) == found


def test_a_method_that_no_route_takes_is_not_documented() -> None:
    assert operation("PUT", "/api/tasks") is None


def test_docs_page(client: TestClient) -> None:
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(item.split(" ", 1) for item in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    # One pinned script and the page's own, by its hash.
    assert policy["script-src"].split(" ")[0] == page.SCRIPT
    assert "unsafe" not in json.dumps(policy)
    assert answer.text.count("integrity=") == answer.text.count("https://") == 2
