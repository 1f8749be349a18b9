"""A body as JSON: what is none, and how large it may be."""

import re
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import pytest
from httpx2 import Response
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.conftest import Rows
from tests.support.asgi import Exchange
from tests.support.tokens import bearer, token_of

pytestmark = pytest.mark.database("any")

MAXIMUM = 64 * 1024
EVERYTHING = "SELECT * FROM tasks ORDER BY id"
SEND_JSON = 'send a JSON object such as {"title": "Buy milk"}, with the header Content-Type: application/json'
NOT_JSON = re.compile(r"The body is not valid JSON: [^{}]+ at line \d+ column \d+\.")
TOO_LARGE = {"detail": "The body is larger than 64 KiB."}
NOT_AN_OBJECT = {
    "detail": "body must be a JSON object.",
    "errors": [{"field": "body", "message": "must be a JSON object"}],
}


def answers_to(client: TestClient, path: str, body: Callable[[], Any]) -> list[Response]:
    """The answers to a body that makes a task, changes the one at this path (PUT and PATCH), and completes it."""
    calls = [("POST", "/api/tasks"), ("PUT", path), ("PATCH", path), ("PATCH", f"{path}/complete")]
    return [client.request(method, where, content=body()) for method, where in calls]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b" \n", id="blank"),
        pytest.param(b"title=Write", id="form"),
        pytest.param(b'{"title": "Write"', id="cut-off"),
        pytest.param(b'{"title": "Write"} {}', id="more-after-it"),
        pytest.param(b'{"title": "Write",}', id="trailing-comma"),
        pytest.param(b"{'title': 'Write'}", id="single-quotes"),
        pytest.param(b'{"title": "Write"} // done', id="comment"),
        pytest.param(b'{"title": "a\nb"}', id="raw-newline"),
        pytest.param(b'{"title": "a\\x41"}', id="unknown-escape"),
        pytest.param(b'{"title": "Write", "priority": NaN}', id="nan"),
        pytest.param(b'{"title": "Write", "priority": Infinity}', id="infinity"),
        pytest.param(b'{"title": "Write", "priority": -Infinity}', id="minus-infinity"),
        pytest.param(b'{"title": "Write", "priority": 01}', id="leading-zero"),
        pytest.param(b'{"title": "Write", "priority": ' + b"9" * 5000 + b"}", id="huge-number"),
        pytest.param(b"[" * 60_000, id="depth-bomb"),
        pytest.param(b'{"a":' * 10_000, id="depth-bomb-of-objects"),
        pytest.param('{"title": "Write"}'.encode("utf-16"), id="utf-16"),
        pytest.param(b'\xef\xbb\xbf{"title": "Write"}', id="byte-order-mark"),
        pytest.param(b'{"title": "\xff"}', id="not-utf-8"),
        pytest.param(b'{"title": "\xed\xa0\x80"}', id="surrogate-in-utf-8"),
        pytest.param(rb'{"title": "\ud800"}', id="lone-high-surrogate"),
        pytest.param(rb'{"title": "\udc00"}', id="lone-low-surrogate"),
        pytest.param(rb'{"title": "\udc00\ud800"}', id="surrogates-swapped"),
        pytest.param(rb'{"title": "Write", "description": "\ud83c"}', id="half-an-emoji"),
        pytest.param(rb'{"title": "Write", "\ud800": 1}', id="lone-surrogate-in-a-key"),
    ],
)
def test_what_is_no_json_is_refused(ada: TestClient, rows: Rows, body: bytes) -> None:
    path = ada.post("/api/tasks", json={"title": "First"}).headers["location"]
    before = rows(EVERYTHING)

    answers = answers_to(ada, path, lambda: body)

    assert [answer.status_code for answer in answers] == [400] * 4
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json().keys() == {"detail"}
    assert NOT_JSON.fullmatch(answers[0].json()["detail"])
    assert rows(EVERYTHING) == before


def test_an_empty_body_is_refused_by_all_but_the_toggle(ada: TestClient) -> None:
    path = ada.post("/api/tasks", json={"title": "First"}).headers["location"]

    *refused, toggled = answers_to(ada, path, bytes)

    detail = f"The body is empty; {SEND_JSON}."
    assert [(answer.status_code, answer.json()) for answer in refused] == [(400, {"detail": detail})] * 3
    assert (toggled.status_code, toggled.json()["completed"]) == (200, True)


@pytest.mark.parametrize(
    "form", [{"data": {"title": "Write"}}, {"files": {"title": b"Write"}}], ids=["urlencoded", "parts"]
)
def test_form_data_is_told_to_be_json(ada: TestClient, rows: Rows, form: dict[str, Any]) -> None:
    answer = ada.post("/api/tasks", **form)

    assert (answer.status_code, answer.json()) == (400, {"detail": f"The body is form data; {SEND_JSON}."})
    assert rows(EVERYTHING) == []


@pytest.mark.parametrize("body", [b"null", b"true", b"5", b"1.5e3", b'"title"'])
def test_json_that_is_no_object_is_refused(ada: TestClient, rows: Rows, body: bytes) -> None:
    path = ada.post("/api/tasks", json={"title": "First"}).headers["location"]
    before = rows(EVERYTHING)

    answers = answers_to(ada, path, lambda: body)

    assert [(answer.status_code, answer.json()) for answer in answers] == [(400, NOT_AN_OBJECT)] * 4
    assert rows(EVERYTHING) == before


@pytest.mark.parametrize("body", [b"[]", b'[{"title": "Write"}]'])
def test_an_array_is_refused_by_all_but_the_create(ada: TestClient, body: bytes) -> None:
    path = ada.post("/api/tasks", json={"title": "First"}).headers["location"]

    _, *answers = answers_to(ada, path, lambda: body)

    assert [(answer.status_code, answer.json()) for answer in answers] == [(400, NOT_AN_OBJECT)] * 3


@pytest.mark.parametrize(
    ("body", "title"),
    [
        pytest.param(b' \r\n\t{ "title" : "Write" } \n', "Write", id="white-space"),
        pytest.param(b'{"title": "First", "title": "Last"}', "Last", id="duplicate-keys"),
        pytest.param(rb'{"title": "\u0057rite \ud83c\udf4e"}', "Write \N{RED APPLE}", id="escapes"),
        pytest.param('{"title": "Äpfel"}'.encode(), "Äpfel", id="utf-8"),
        pytest.param(rb'{"title": "\\ud800"}', r"\ud800", id="escaped-backslash"),
        pytest.param(b'{"title": "Write", "priority": 1e999}', "Write", id="huge-exponent"),
        pytest.param(b'{"title": "Write", "a": ' + b"[" * 50 + b"]" * 50 + b"}", "Write", id="50-deep"),
    ],
)
def test_unusual_json_is_still_json(ada: TestClient, body: bytes, title: str) -> None:
    response = ada.post("/api/tasks", content=body)

    assert (response.status_code, response.json()["title"]) == (201, title)


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/json; charset=utf-8", "multipart/form-data"])
def test_the_content_type_is_not_asked_for(ada: TestClient, media_type: str) -> None:
    """Whoever sends JSON means JSON."""
    response = ada.post("/api/tasks", content=b'{"title": "Write"}', headers={"Content-Type": media_type})

    assert response.status_code == 201


def body_of(size: int) -> bytes:
    return b'{"title": "Write"}'.ljust(size)


def in_chunks(body: bytes) -> Iterator[bytes]:
    """Sent without a Content-Length."""
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


def whole(body: bytes) -> bytes:
    return body


announced = pytest.mark.parametrize(
    "sent", [pytest.param(whole, id="announced"), pytest.param(in_chunks, id="chunked")]
)


@announced
def test_a_body_of_64_kib_is_accepted(ada: TestClient, sent: Any) -> None:
    created = ada.post("/api/tasks", content=sent(body_of(MAXIMUM)))
    updated = ada.put(created.headers["location"], content=sent(body_of(MAXIMUM)))

    assert (created.status_code, updated.status_code) == (201, 200)


@announced
def test_one_byte_more_is_refused_and_changes_nothing(ada: TestClient, rows: Rows, sent: Any) -> None:
    path = ada.post("/api/tasks", json={"title": "First"}).headers["location"]
    before = rows(EVERYTHING)

    answers = answers_to(ada, path, lambda: sent(body_of(MAXIMUM + 1)))

    assert [(answer.status_code, answer.json()) for answer in answers] == [(413, TOO_LARGE)] * 4
    assert rows(EVERYTHING) == before


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("length", ["9" * 5000, "65537"], ids=["5000-digits", "one-too-many"])
def test_a_body_that_is_announced_as_too_large_is_not_waited_for(app: Starlette, length: str) -> None:
    exchange = Exchange("POST", "/api/tasks", {**bearer(token_of("ada")), "Content-Length": length})

    assert exchange.run(app)[0]["status"] == 413
    assert exchange.received == 0


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    "length", [{}, {"Content-Length": "10"}, {"Content-Length": "²"}], ids=["chunked", "lie", "odd"]
)
def test_an_endless_body_is_read_no_further_than_the_limit(app: Starlette, length: dict[str, str]) -> None:
    exchange = Exchange("POST", "/api/tasks", {**bearer(token_of("ada")), **length})

    sent = exchange.run(app, repeat({"type": "http.request", "body": b" " * 1024, "more_body": True}))

    assert sent[0]["status"] == 413
    assert exchange.received == 65
