"""One line per request, an id that both sides know it by, and no secrets."""

import logging
import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.conftest import Rows
from tests.support.tokens import SECRET, bearer, token_of

pytestmark = pytest.mark.database("any")

# Have the database fail on any new task, and PostgreSQL's error hold the whole of it.
FAIL_ON_TASKS = {
    "sqlite": "ALTER TABLE tasks DROP COLUMN description",
    "postgresql": """
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no' USING DETAIL = NEW::text; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION fail()
    """,
}
OWN_ID = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that the test logs."""
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    return caplog


def access_lines(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.name == "todo.access"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "line"),
    [
        pytest.param("GET", "/health", None, {}, "GET /health 200 … user=-", id="health"),
        pytest.param("GET", "/api/tasks?status=all", None, {}, "GET /api/tasks 401 … user=-", id="stranger"),
        pytest.param("GET", "/nothing", None, {}, "GET /nothing 404 … user=-", id="nowhere"),
        pytest.param(
            "POST", "/api/tasks", {"title": "x"}, bearer(token_of("ada")), "POST /api/tasks 201 … user=ada", id="create"
        ),
        pytest.param("POST", "/api/tasks", {}, bearer(token_of("ada")), "POST /api/tasks 400 … user=ada", id="refused"),
        pytest.param("PUT", "/api/tasks", {}, bearer(token_of("ada")), "PUT /api/tasks 405 … user=ada", id="method"),
        pytest.param(
            "BREW", "/api/a", None, bearer(token_of("ada")), "BREW /api/a 404 … user=ada", id="unknown-method"
        ),
        pytest.param(
            "GET",
            "/api/%0D%0AGET%20/forged%20200%E2%80%A8%C2%85%5Cn",
            None,
            {},
            r"GET /api/\r\nGET\x20/forged\x20200\u2028\x85\\n 401 … user=-",
            id="newlines-in-the-path",
        ),
        pytest.param(
            "GET",
            "/api/nothing",
            None,
            bearer(token_of("ada\r\nforged line\u2028\x85é")),
            r"GET /api/nothing 404 … user=ada\r\nforged\x20line\u2028\x85\xe9",
            id="newlines-in-the-user",
        ),
    ],
)
def test_every_request_is_one_line(
    client: TestClient,
    log: pytest.LogCaptureFixture,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
    line: str,
) -> None:
    response = client.request(method, path, json=body, headers=headers)

    before, _, after = line.partition("…")
    form = rf"{re.escape(before)}\d+\.\dms request_id={response.headers['x-request-id']}{re.escape(after)}"
    (logged,) = access_lines(log)
    assert re.fullmatch(form, logged)
    assert logged.splitlines() == [logged]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        pytest.param("/api/" + "x" * 250, "/api/" + "x" * 250, id="255"),
        pytest.param("/api/" + "x" * 251, "/api/" + "x" * 250 + "...", id="256"),
        pytest.param("/api/" + "x" * 60_000, "/api/" + "x" * 250 + "...", id="60000"),
        pytest.param("/api/" + "%F0%9F%8D%8E" * 5000, "/api/" + r"\U0001f34e" * 250 + "...", id="emoji"),
    ],
)
def test_a_long_path_is_cut(client: TestClient, log: pytest.LogCaptureFixture, path: str, shown: str) -> None:
    client.get(path)

    (line,) = access_lines(log)
    assert line.startswith(f"GET {shown} 401 ")


def test_a_long_method_is_cut_and_a_users_id_never_is(client: TestClient, log: pytest.LogCaptureFixture) -> None:
    client.request("X" * 5000, "/api/tasks", headers=bearer(token_of("u" * 255)))

    (line,) = access_lines(log)
    assert line.startswith(f"{'X' * 255}... /api/tasks 405 ")
    assert line.endswith(f" user={'u' * 255}")


def test_a_defect_has_its_line_too(
    client: TestClient, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("store.list_tasks", fail)

    response = client.get("/api/tasks", headers=bearer(token_of("ada")))

    request_id = response.headers["x-request-id"]
    assert [line.split(" ")[2] for line in access_lines(log)] == ["500"]
    assert f"500 for request_id={request_id}" in log.messages


@pytest.mark.parametrize(
    ("path", "status", "level"),
    [
        ("/health", 200, "DEBUG"),
        ("/ready", 200, "DEBUG"),
        ("/health/", 404, "INFO"),
        ("/docs", 200, "INFO"),
        ("/api/tasks", 401, "INFO"),
    ],
)
def test_only_what_a_platform_asks_all_the_time_is_logged_at_debug(
    client: TestClient, log: pytest.LogCaptureFixture, path: str, status: int, level: str
) -> None:
    assert client.get(path).status_code == status

    assert [record.levelname for record in log.records if record.name == "todo.access"] == [level]


@pytest.mark.parametrize("given", ["a", "7", "3f2a-B_c.9", "x" * 128], ids=["short", "digit", "every-kind", "long"])
@pytest.mark.parametrize("path", ["/health", "/api/tasks"], ids=["200", "401"])
def test_a_sane_request_id_is_kept(client: TestClient, log: pytest.LogCaptureFixture, path: str, given: str) -> None:
    response = client.get(path, headers={"X-Request-ID": given})

    assert response.headers.get_list("x-request-id") == [given]
    assert f"request_id={given} " in access_lines(log)[0]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"x" * 129, id="too-long"),
        pytest.param(b"a b", id="space"),
        pytest.param(b"a\tb", id="tab"),
        pytest.param(b"a;b", id="semicolon"),
        pytest.param(b"%0a", id="percent"),
        pytest.param("é".encode(), id="utf-8"),
        pytest.param("\N{ARABIC-INDIC DIGIT ONE}".encode(), id="arabic-digit"),
        pytest.param(b"a\nforged", id="newline"),
        pytest.param(b"a\n", id="newline-last"),
    ],
)
def test_any_other_request_id_is_replaced(client: TestClient, log: pytest.LogCaptureFixture, given: bytes) -> None:
    response = client.get("/health", headers={b"X-Request-ID": given})

    (request_id,) = response.headers.get_list("x-request-id")
    assert OWN_ID.fullmatch(request_id)
    assert f"request_id={request_id} " in access_lines(log)[0]


def test_a_request_without_an_id_is_given_one_of_its_own(client: TestClient) -> None:
    ids = [client.get("/health").headers["x-request-id"] for _ in range(2)]

    assert [bool(OWN_ID.fullmatch(request_id)) for request_id in ids] == [True, True]
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(token_of("ada"), id="good"),
        pytest.param(token_of("ada", exp=1), id="expired"),
        pytest.param(token_of("ada", iss="https://evil.example"), id="of-another-issuer"),
        pytest.param(token_of("ada")[:-3] + "AAA", id="forged"),
        pytest.param(token_of("ada").replace(".", "~"), id="malformed"),
    ],
)
@pytest.mark.parametrize("works", [True, False], ids=["working", "defective"])
@pytest.mark.database("every")
def test_neither_tokens_nor_tasks_nor_the_secret_are_logged(
    client: TestClient, log: pytest.LogCaptureFixture, rows: Rows, database_kind: str, token: str, works: bool
) -> None:
    if not works:
        rows(FAIL_ON_TASKS["sqlite" if "sqlite" in database_kind else "postgresql"])

    answer = client.post("/api/tasks", json={"title": "Confidential"}, headers=bearer(token))
    if "sqlite" not in database_kind:
        rows("DROP FUNCTION IF EXISTS fail CASCADE")

    assert answer.status_code in ({201, 401} if works else {401, 500, 503})
    assert access_lines(log)
    parts = [part for part in re.split(r"[.~]", token) if len(part) > 20]
    for secret in [token, *parts, SECRET, "Confidential", "ada@example.com"]:
        assert secret not in log.text


@pytest.mark.database("every")
def test_at_debug_each_statement_is_logged_without_its_values(ada: TestClient, log: pytest.LogCaptureFixture) -> None:
    ada.post("/api/tasks", json={"title": "Nobody's business"})

    statements = [record.getMessage() for record in log.records if record.name == "todo.sql"]
    assert [statement for statement in statements if "INSERT INTO tasks" in statement]
    assert "Nobody's business" not in log.text
