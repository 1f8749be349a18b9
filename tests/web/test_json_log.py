"""LOG_FORMAT=json: every line on standard error is one JSON object, whoever writes it and whatever it holds."""

import io
import json
import logging
import re
import sys
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.support.tokens import SECRET, bearer, token_of
from tests.web.conftest import Begin
from web.log import begin_logging, configure_logging

pytestmark = pytest.mark.database("any")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def objects(written: io.StringIO) -> list[dict[str, Any]]:
    """What was logged, after the times and the ends of the lines have been looked at."""
    assert written.getvalue() == "" or written.getvalue().endswith("\n")
    found = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [one for one in found if not TIME.fullmatch(one.pop("time"))] == []
    return found


def test_a_line_has_time_level_logger_and_message(begin: Begin) -> None:
    written = begin("json")
    logging.getLogger("todo").info("%d tasks", 3)
    logging.getLogger("todo").debug("nobody sees it")

    assert objects(written) == [{"level": "INFO", "logger": "todo", "message": "3 tasks"}]


@pytest.mark.parametrize("name", ["uvicorn", "uvicorn.error"])
def test_uvicorns_own_lines_are_json_too(begin: Begin, name: str) -> None:
    written = begin("json")
    logging.getLogger(name).warning("Invalid HTTP request received.")

    assert objects(written) == [{"level": "WARNING", "logger": name, "message": "Invalid HTTP request received."}]


def test_the_line_of_a_request_has_its_parts_as_members(begin: Begin, client: TestClient) -> None:
    written = begin("json")
    answer = client.get("/api/tasks/7?status=all", headers=bearer(token_of("ada lovelace")))

    (line,) = objects(written)
    request_id, milliseconds = answer.headers["x-request-id"], line.pop("ms")
    assert (type(milliseconds), milliseconds >= 0) == (float, True)
    assert line == {
        "level": "INFO",
        "logger": "todo.access",
        "message": rf"GET /api/tasks/7 404 {milliseconds:.1f}ms request_id={request_id} user=ada\x20lovelace",
        "request_id": request_id,
        "method": "GET",
        "path": "/api/tasks/7",
        "route": "/api/tasks/{id}",
        "status": 404,
        "user": "ada lovelace",
    }


@pytest.mark.parametrize(
    ("method", "path", "route", "user"),
    [
        pytest.param("GET", "/api/tasks", "/api/tasks", "ada", id="list"),
        pytest.param("PATCH", "/api/tasks/7/complete", "/api/tasks/{id}/complete", "ada", id="toggle"),
        pytest.param("PUT", "/api/tasks", "/api/tasks", "ada", id="method-not-allowed"),
        pytest.param("GET", "/api/other", "other", "ada", id="unknown-below-api"),
        pytest.param("GET", "/nothing", "other", None, id="unknown"),
        pytest.param("GET", "/docs", "/docs", None, id="docs"),
        pytest.param("GET", "/api/tasks", "other", None, id="without-a-token"),
    ],
)
def test_the_route_is_a_template(
    begin: Begin, client: TestClient, method: str, path: str, route: str, user: str | None
) -> None:
    written = begin("json")
    client.request(method, path, headers=bearer(token_of(user)) if user else {})

    assert [(line["route"], line["user"]) for line in objects(written)] == [(route, user)]


@pytest.mark.parametrize(
    "text",
    ["a\r\nforged", "\u2028\u2029\x85\x0b\x0c\x1c", "\x1b[31m", '"}\n{"', "\U0001f34e é", "\\n"],
    ids=["newline", "separators", "colour", "quotes", "unicode", "backslash"],
)
def test_a_line_stays_one_line(begin: Begin, client: TestClient, text: str) -> None:
    written = begin("json")
    client.get(f"/api/{quote(text)}", headers=bearer(token_of(f"ada{text}z")))
    logging.getLogger("todo").warning(text)

    request, message = objects(written)
    assert (request["path"], request["user"], message["message"]) == (f"/api/{text}", f"ada{text}z", text)


def test_a_line_is_valid_unicode(begin: Begin) -> None:
    written = begin("json")
    logging.getLogger("todo").warning("a lone \udcff")

    assert [line["message"] for line in objects(written)] == ["a lone \\udcff"]
    assert written.getvalue().isascii()


def test_a_long_path_is_cut(begin: Begin, client: TestClient) -> None:
    written = begin("json")
    client.request("X" * 300, "/" + "y" * 300)

    assert [(line["method"], line["path"]) for line in objects(written)] == [
        ("X" * 255 + "...", "/" + "y" * 254 + "...")
    ]


def test_a_defect_has_its_traceback_in_a_member(
    begin: Begin, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = begin("json")

    def fail(*_: object) -> None:
        raise RuntimeError("It broke.")

    monkeypatch.setattr("store.list_tasks", fail)

    answer = client.get("/api/tasks", headers={**bearer(token_of("ada")), "traceparent": TRACEPARENT})

    defect, request = objects(written)
    ids = {"request_id": answer.headers["x-request-id"], "trace_id": TRACEPARENT[3:35]}
    traceback = defect.pop("traceback")
    message = f"500 for request_id={ids['request_id']}"
    assert defect == {"level": "ERROR", "logger": "todo.errors", "message": message, **ids}
    assert traceback.startswith("Traceback (most recent call last):\n")
    assert traceback.endswith("RuntimeError: It broke.")
    assert request.items() >= {"status": 500, **ids}.items()


def test_each_line_of_a_request_has_its_ids(begin: Begin, app: Starlette) -> None:
    written = begin("json")
    logging.root.setLevel("DEBUG")
    with TestClient(app, headers={**bearer(token_of("ada")), "traceparent": TRACEPARENT}) as client:
        before = len(objects(written))
        answer = client.get("/api/tasks")

    ids = {"request_id": answer.headers["x-request-id"], "trace_id": TRACEPARENT[3:35]}
    ours = [line for line in objects(written)[before:] if line["logger"].startswith("todo.")]
    assert {line["logger"] for line in ours} == {"todo.sql", "todo.access"}
    assert [line for line in ours if not line.items() >= ids.items()] == []


def test_what_is_logged_after_a_request_has_no_ids_of_it(begin: Begin, client: TestClient) -> None:
    written = begin("json")
    client.get("/docs")
    logging.getLogger("todo").info("later")

    assert objects(written)[-1] == {"level": "INFO", "logger": "todo", "message": "later"}


@pytest.mark.parametrize("token", [token_of("ada"), token_of("ada", exp=1)], ids=["good", "expired"])
def test_it_tells_no_secrets(begin: Begin, client: TestClient, token: str) -> None:
    written = begin("json")
    logging.root.setLevel("DEBUG")

    client.post("/api/tasks?x=Confidential", json={"title": "Confidential"}, headers=bearer(token))

    assert "todo.access" in [line["logger"] for line in objects(written)]
    for secret in [token, *token.split("."), SECRET, "Confidential", "ada@example.com"]:
        assert secret not in written.getvalue()


def test_what_is_written_to_standard_error_as_text_becomes_lines(begin: Begin) -> None:
    """Such as the sentence of a `SystemExit`, which Python writes in two pieces."""
    written = begin("json")
    sys.stderr.write("Cannot start: ")
    sys.stderr.write("no secret.\n\nAt")
    assert [line["message"] for line in objects(written)] == ["Cannot start: no secret."]

    sys.stderr.flush()
    sys.stderr.flush()

    assert objects(written) == [
        {"level": "ERROR", "logger": "stderr", "message": "Cannot start: no secret."},
        {"level": "ERROR", "logger": "stderr", "message": "At"},
    ]
    assert not sys.stderr.isatty()


def fail() -> None:
    raise ValueError("Not here.")


def test_an_exception_that_ends_a_thread_or_the_process_is_one_line(begin: Begin) -> None:
    written = begin("json")
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)

    first, second = objects(written)
    assert first.pop("traceback").endswith("ValueError: Not here.")
    assert second.pop("traceback").endswith("ValueError: Not here.")
    assert first == second == {"level": "CRITICAL", "logger": "todo", "message": "Not caught: ValueError"}


@pytest.mark.parametrize(("form", "count"), [("json", 1), ("JSON", 1), ("text", 0), ("", 0), (None, 0)])
def test_it_begins_before_the_settings_are_read(
    standard_error: Callable[[], io.StringIO], monkeypatch: pytest.MonkeyPatch, form: str | None, count: int
) -> None:
    written = standard_error()
    if form is not None:
        monkeypatch.setenv("LOG_FORMAT", form)
    logging.root.handlers = [logging.NullHandler()]

    begin_logging()
    logging.getLogger("todo").warning("begun")

    assert [line["message"] for line in objects(written)] == ["begun"] * count


def test_it_begins_once(standard_error: Callable[[], io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    written = standard_error()
    monkeypatch.setenv("LOG_FORMAT", "json")
    begin_logging()
    configure_logging("WARNING", "json")

    logging.getLogger("todo").info("unseen")
    logging.getLogger("todo").warning("seen")

    assert [line["message"] for line in objects(written)] == ["seen"]
