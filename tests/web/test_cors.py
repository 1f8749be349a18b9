"""Cross-origin resource sharing: what a browser needs, for the frontend's origins alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx2
import pytest
from starlette.testclient import TestClient

from app import create_app
from database import DatabaseUnavailable
from settings import Settings
from tests.conftest import Rows
from tests.support.tokens import FRONTEND, bearer, token_of

pytestmark = pytest.mark.database("any")

OTHERS = ["https://app.example.com", "http://localhost:5173"]
GRANTED = {
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": "Allow, Content-Disposition, ETag, Idempotency-Replayed, Link, Location, "
    "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-ID",
}

Ask = Callable[[str, str, dict[str, str], bytes, type[Exception] | None, str | None], httpx2.Response]

allowed_origin = pytest.mark.parametrize("origin", [FRONTEND, *OTHERS])
foreign_origin = pytest.mark.parametrize(
    "origin",
    [
        pytest.param("https://evil.example", id="other"),
        pytest.param("null", id="null"),
        pytest.param("*", id="any"),
        pytest.param("", id="empty"),
        pytest.param("http://localhost", id="other-port"),
        pytest.param("https://localhost:3000", id="other-scheme"),
        pytest.param("http://localhost:3000.evil.example", id="prefix"),
        pytest.param("http://localhost:3000/", id="slash"),
        pytest.param("HTTP://LOCALHOST:3000", id="capitals"),
        pytest.param(f"{FRONTEND}, https://app.example.com", id="two"),
    ],
)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """Of an app with more origins than the frontend's."""
    app = create_app(replace(settings, cors_origins=f"{OTHERS[0]}/, {OTHERS[1]},"))
    with TestClient(app) as client:
        yield client


def cors(response: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


ADA = bearer(token_of("ada"))
ANSWERS = [
    pytest.param("GET", "/api/tasks", ADA, b"", None, 200, id="200"),
    pytest.param("POST", "/api/tasks", ADA, b'{"title": "Write"}', None, 201, id="201"),
    pytest.param("DELETE", "/api/tasks/1", ADA, b"", None, 204, id="204"),
    pytest.param("POST", "/api/tasks", ADA, b"{", None, 400, id="400"),
    pytest.param("GET", "/api/tasks", {}, b"", None, 401, id="401"),
    pytest.param("POST", "/api/tasks", ADA, b'{"title": "Write", "user_id": "bob"}', None, 403, id="403"),
    pytest.param("GET", "/api/tasks/404", ADA, b"", None, 404, id="404"),
    pytest.param("GET", "/nothing", {}, b"", None, 404, id="404-outside"),
    pytest.param("PUT", "/api/tasks", ADA, b"", None, 405, id="405"),
    pytest.param("OPTIONS", "/api/tasks", ADA, b"", None, 405, id="405-no-preflight"),
    pytest.param("POST", "/api/tasks", ADA, b" " * 65537, None, 413, id="413"),
    pytest.param("GET", "/api/tasks/1", ADA, b"", RuntimeError, 500, id="500"),
    pytest.param("GET", "/api/tasks/1", ADA, b"", DatabaseUnavailable, 503, id="503"),
    pytest.param("GET", "/health", {}, b"", None, 200, id="health"),
    pytest.param("GET", "/ready", {}, b"", None, 200, id="ready"),
]


@pytest.fixture
def ask(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Have one of the ANSWERS given to a page of that origin."""

    def request(
        method: str, path: str, headers: dict[str, str], body: bytes, error: type[Exception] | None, origin: str | None
    ) -> httpx2.Response:
        def fail(*_: object) -> None:
            assert error
            raise error

        client.post("/api/tasks", json={"title": "First"}, headers=ADA)
        if error:
            monkeypatch.setattr("store.get_task", fail)
        origins = {} if origin is None else {"Origin": origin}
        return client.request(method, path, headers={**headers, **origins}, content=body)

    return request


def varies(response: httpx2.Response) -> list[str]:
    """What a browser may keep, it keeps for one token."""
    return ["Authorization", "Origin"] if response.headers["cache-control"] == "private, no-cache" else ["Origin"]


@pytest.mark.parametrize(("method", "path", "headers", "body", "error", "status"), ANSWERS)
def test_every_answer_can_be_read_by_an_allowed_origin(
    ask: Ask,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    error: type[Exception] | None,
    status: int,
) -> None:
    response = ask(method, path, headers, body, error, FRONTEND)

    assert response.status_code == status
    assert cors(response) == {"access-control-allow-origin": FRONTEND, **GRANTED}
    assert response.headers.get_list("vary") == varies(response)


@pytest.mark.parametrize("origin", [None, "https://evil.example"], ids=["no-origin", "foreign-origin"])
@pytest.mark.parametrize(("method", "path", "headers", "body", "error", "status"), ANSWERS)
def test_every_answer_to_anybody_else_is_the_same_without_cors(
    ask: Ask,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    error: type[Exception] | None,
    status: int,
    origin: str | None,
) -> None:
    response = ask(method, path, headers, body, error, origin)

    assert response.status_code == status
    assert cors(response) == {}
    assert response.headers.get_list("vary") == varies(response)


@allowed_origin
def test_every_configured_origin_is_allowed(client: TestClient, origin: str) -> None:
    answer = client.get("/health", headers={"Origin": origin})
    preflight = client.options("/api/tasks", headers={"Origin": origin, "Access-Control-Request-Method": "PUT"})

    assert cors(answer) == {"access-control-allow-origin": origin, **GRANTED}
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, origin)


@foreign_origin
def test_no_other_origin_is_allowed(client: TestClient, origin: str) -> None:
    assert cors(client.get("/health", headers={"Origin": origin})) == {}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks/1/complete", "/api/nothing", "/health"])
def test_a_preflight_is_answered_before_authentication(client: TestClient, rows: Rows, path: str, method: str) -> None:
    """And for any headers, since frontends have some of their own."""
    wanted = "authorization,content-type,x-trace-id,x-whatever"
    response = client.options(
        path,
        headers={
            "Origin": FRONTEND,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": wanted,
        },
    )

    assert (response.status_code, response.text) == (200, "OK")
    assert cors(response) == {
        "access-control-allow-origin": FRONTEND,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
        "access-control-allow-headers": wanted,
        "access-control-max-age": "7200",
    }
    assert response.headers["vary"].split(", ")[:3] == [
        "Origin",
        "Access-Control-Request-Method",
        "Access-Control-Request-Headers",
    ]
    assert rows("SELECT count(*) FROM users") == [(0,)]


@foreign_origin
def test_a_preflight_of_no_other_origin_is_granted(client: TestClient, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-any"}
    response = client.options("/health", headers=headers)

    assert response.status_code == 400
    assert cors(response) == {}
    assert "Origin" in response.headers["vary"]


def test_a_refused_preflight_says_what_to_do(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the page's origin and those that are allowed, since no page can read the answer."""
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}

    response = client.options("/api/tasks", headers=headers)

    advice = "This origin is not allowed; set BETTER_AUTH_URL to it, or add it to CORS_ORIGINS."
    assert response.json() == {"detail": advice}
    allowed = "http://localhost:3000, http://localhost:5173, https://app.example.com"
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [f"Refused the preflight of a page of https://evil.example; allowed are {allowed}. {advice}"]


def test_a_method_that_is_not_allowed_is_refused_and_logged(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Origin": FRONTEND, "Access-Control-Request-Method": "BREW"}

    response = client.options("/api/tasks", headers=headers)

    assert (response.status_code, response.headers["access-control-allow-origin"]) == (400, FRONTEND)
    assert [
        line for line in caplog.messages if line.startswith(f"Refused the preflight of a page of {FRONTEND}; ")
    ] != []


def test_a_public_page_may_call_an_api_in_a_private_network(client: TestClient) -> None:
    """Which Chromium asks for (Private Network Access, section 3.1)."""
    wanted = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Private-Network": "true"}
    answers = [
        client.options("/api/tasks", headers={"Origin": origin, **wanted}) for origin in (FRONTEND, "https://e.example")
    ]

    assert [answer.headers.get("access-control-allow-private-network") for answer in answers] == ["true", None]
    assert [answer.status_code for answer in answers] == [200, 400]


def test_a_list_in_chunks_can_be_read_too(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endpoints.tasks.FIRST_ROWS", 1)
    for _ in range(3):
        client.post("/api/tasks", json={"title": "Write"}, headers=ADA)

    response = client.get("/api/tasks", headers={**ADA, "Origin": FRONTEND})

    assert len(response.json()) == 3
    assert cors(response) == {"access-control-allow-origin": FRONTEND, **GRANTED}
