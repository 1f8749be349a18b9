"""What answers and the log give away: nothing to keep, nothing about the inside, and nothing about anybody else."""

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.attacks.corpus import CORPUS
from tests.attacks.forgery import Scene
from tests.attacks.live import Live
from tests.attacks.wire import answers, request, talk
from tests.support.proxy import free_port
from tests.support.tokens import FRONTEND, token_of

MALLORY = "mallory"
BANNERS = re.compile(
    rb"uvicorn|starlette|httptools|python|pydantic|sqlalchemy|sqlmodel|psycopg|postgres|sqlite|jwt|traceback|\.py", re.I
)
JSON = b'{"title": "x"}'

# The request, and the status of its answer; `{mine}` and `{theirs}` are ids.
CALLS: dict[str, tuple[str, str, bytes, int]] = {
    "list": ("GET", "/api/tasks", b"", 200),
    "create": ("POST", "/api/tasks", JSON, 201),
    "get": ("GET", "/api/tasks/{mine}", b"", 200),
    "head": ("HEAD", "/api/tasks/{mine}", b"", 200),
    "update": ("PUT", "/api/tasks/{mine}", JSON, 200),
    "patch": ("PATCH", "/api/tasks/{mine}", JSON, 200),
    "toggle": ("PATCH", "/api/tasks/{mine}/complete", b"", 200),
    "complete": ("PATCH", "/api/tasks/{mine}/complete", b'{"completed": true}', 200),
    "delete": ("DELETE", "/api/tasks/{mine}", b"", 204),
    "page": ("GET", "/api/tasks?limit=1", b"", 200),
    "bad query": ("GET", "/api/tasks?sort=x", b"", 400),
    "bad cursor": ("GET", "/api/tasks?cursor=x", b"", 400),
    "bad JSON": ("POST", "/api/tasks", b"{", 400),
    "bad title": ("POST", "/api/tasks", b'{"title": 5}', 400),
    "another owner": ("POST", "/api/tasks", b'{"title": "x", "user_id": "bystander"}', 403),
    "not found": ("GET", "/api/tasks/{theirs}", b"", 404),
    "no address": ("GET", "/api/nothing", b"", 404),
    "no address outside": ("GET", "/nothing", b"", 404),
    "no method": ("PUT", "/api/tasks", b"", 405),
    "too large": ("POST", "/api/tasks", b" " * 65537, 413),
    "health": ("GET", "/health", b"", 200),
    "ready": ("GET", "/ready", b"", 200),
}


@pytest.mark.parametrize("signed_in", [True, False], ids=["signed-in", "stranger"])
@pytest.mark.parametrize("name", CALLS)
def test_an_answer_is_not_kept_and_does_not_say_by_whom_it_is(attacked: Live, name: str, signed_in: bool) -> None:
    method, target, body, status = CALLS[name]
    target = target.format(mine=attacked.create(MALLORY, "Mine"), theirs=attacked.theirs)
    authorization = [attacked.authorization(MALLORY)] * signed_in

    received = talk(attacked.address, request(method, target, *authorization, f"Origin: {FRONTEND}", body=body))

    (answer,) = answers(received, to_head=method == "HEAD")
    assert answer.status == (status if signed_in or not target.startswith("/api/") else 401 if status != 413 else 413)
    # What has an ETag may be kept by the browser of this person alone, and is asked for each time.
    kept = b"private, no-cache" if method in ("GET", "HEAD") and b"etag" in dict(answer.headers) else b"no-store"
    assert [value for key, value in answer.headers if key == b"cache-control"] == [kept]
    assert [value for key, value in answer.headers if key == b"x-content-type-options"] == [b"nosniff"]
    assert answer.header(b"server") is None
    assert answer.header(b"x-powered-by") is None
    assert not BANNERS.search(received)


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01", b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\x00"], ids=["TLS", "version", "NUL"]
)
def test_the_server_itself_says_no_more(attacked: Live, nonsense: bytes) -> None:
    received = talk(attacked.address, nonsense)

    assert [answer.status for answer in answers(received)] == [400]
    assert not BANNERS.search(received)


ON_A_TASK: list[tuple[str, str, bytes]] = [
    *[(method, "", b"") for method in ("GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "QUERY")],
    *[(method, "", body) for method in ("PUT", "POST", "PATCH") for body in (JSON, b"{}", b"{", b'{"title": 5}', b"")],
    ("PUT", "", b'{"user_id": "bystander"}'),
    ("PUT", "", b'{"title": null, "user_id": "bystander"}'),
    *[(method, "/complete", b"") for method in ("PATCH", "GET", "PUT", "DELETE")],
    *[("PATCH", "/complete", body) for body in (b"{}", b'{"completed": true}', b'{"completed": 5}', b"{")],
    *[("GET", suffix, b"") for suffix in ("/", "//", "/nothing", "?limit=0", "%20", ".json")],
]


@pytest.mark.parametrize(("method", "suffix", "body"), ON_A_TASK)
def test_somebody_elses_task_answers_byte_for_byte_as_none(
    attacked: Live, method: str, suffix: str, body: bytes
) -> None:
    """But for the hour, and the id of the request, which is the same here."""
    headers = [attacked.authorization(MALLORY), f"Origin: {FRONTEND}", "X-Request-ID: same", "If-Match: *"]

    def answer_for(task_id: int) -> bytes:
        received = talk(attacked.address, request(method, f"/api/tasks/{task_id}{suffix}", *headers, body=body))
        return re.sub(rb"\r\ndate: [^\r]+", b"", received)

    theirs, missing = answer_for(attacked.theirs), answer_for(2**40)

    assert theirs == missing
    assert theirs.startswith(b"HTTP/1.1 4")
    assert attacked.still_serves()


def test_no_bad_token_gets_in_or_into_the_log(attacked: Live) -> None:
    """All of the corpus, many at once, since a key that nobody knows is asked for once in an interval.

    What no header can hold is refused by the server.
    """
    scene = Scene(f"http://127.0.0.1:{free_port()}/")
    attacked.issuer.keys = [*scene.keys.values()]
    tokens = [attacked.know(token(scene)) for token in CORPUS.values()]
    sound = [token for token in tokens if token.isascii() and token.isprintable() and len(token) < 2**20]

    requests = [request("POST", "/api/tasks", f"Authorization: Bearer {token}", body=JSON) for token in sound]
    with ThreadPoolExecutor(32) as threads:
        received = list(threads.map(partial(talk, attacked.address), requests))

    assert [answer.status for each in received for answer in answers(each)] == [401] * len(sound)
    for token in set(tokens).difference(sound):
        alone = request("POST", "/api/tasks", body=JSON).replace(
            b"\r\n", b"\r\nAuthorization: Bearer %s\r\n" % token.encode(), 1
        )
        (answer,) = answers(talk(attacked.address, alone))
        assert answer.status in (400, 401)


UPGRADE = ["Connection: close, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
UPGRADE += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
# The last header of this name is the one that counts.
CLOSE = ["Connection: close"]
ELSEWHERE = {
    "query": ("/api/tasks?access_token={}", CLOSE),
    "query outside": ("/nothing?token={}", CLOSE),
    "query of a probe": ("/health?token={}", CLOSE),
    "query of a WebSocket": ("/api/tasks?access_token={}", UPGRADE),
    "protocol of a WebSocket": ("/api/tasks", [*UPGRADE, "Sec-WebSocket-Protocol: bearer, {}"]),
    "query, of another version": ("/api/tasks?access_token={}", ["Connection: close, Upgrade", "Upgrade: h2c"]),
    "cookie": ("/api/tasks", [*CLOSE, "Cookie: better-auth.session_token={}"]),
    "address of the page": ("/api/tasks", [*CLOSE, "Referer: http://localhost:3000/?token={}", "Origin: {}"]),
    "id of the request": ("/api/tasks", [*CLOSE, "X-Request-ID: {}"]),
    "content type": ("/api/tasks", [*CLOSE, "Content-Type: {}", "User-Agent: {}", "X-Forwarded-For: {}", "Host: {}"]),
}


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_token_in_the_wrong_place_is_not_logged(attacked: Live, place: str) -> None:
    """The log is searched once more in the end, should the server write late."""
    target, headers = ELSEWHERE[place]
    token = attacked.know(token_of(f"{MALLORY} with a token in a {place}"))

    lines = [line.format(token) for line in headers]
    received = talk(attacked.address, request("GET", target.format(token), *lines, close=False))

    assert len(answers(received)) == 1
    assert attacked.still_serves()
    assert token not in attacked.leaks()


def test_the_search_of_the_log_would_find_a_token(attacked: Live) -> None:
    """The control: a path is logged, so a token in a path must be found."""
    attacked.tokens.add("found-as-a-token-would-be")
    talk(attacked.address, request("GET", "/found-as-a-token-would-be"))

    found = attacked.leaks()

    attacked.tokens.discard("found-as-a-token-would-be")
    assert "found-as-a-token-would-be" in found
