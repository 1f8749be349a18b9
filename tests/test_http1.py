"""The bound on what a request may send besides its body, on a real socket."""

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import uvicorn

from app import create_app
from http1 import MAXIMUM_HEAD, BoundedHttp
from settings import Settings
from tests.attacks.wire import talk as talk_to
from tests.proxy import HOST, free_port
from tests.servers import answers
from tests.tokens import SECRET

Talk = Callable[[bytes], bytes]

END = b"Connection: close\r\n\r\n"


@pytest.fixture(scope="module")
def talk() -> Iterator[Talk]:
    """Send these bytes, and give all that comes back until the server closes."""
    port = free_port()
    app = create_app(Settings(secret=SECRET, database_url="sqlite://"))
    config = uvicorn.Config(app, HOST, port, http=BoundedHttp, ws="none", lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    address = f"http://{HOST}:{port}"
    while not answers(f"{address}/health"):
        pass

    yield partial(talk_to, address)
    server.should_exit = True
    thread.join()


def health(rest: bytes = END) -> bytes:
    return b"GET /health HTTP/1.1\r\nHost: x\r\n" + rest


def test_a_large_head_is_still_taken(talk: Talk) -> None:
    assert talk(health(b"X: " + b"a" * (MAXIMUM_HEAD // 2) + b"\r\n" + END)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "sent",
    [
        health(b"X: " + b"a" * 5_000_000),
        health(b"X: a\r\n" * 1_000_000),
        b"GET /" + b"a" * 5_000_000,
        b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"a" * 5_000_000,
        b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 5_000_000,
    ],
    ids=["a header", "headers", "the path", "the extension of a chunk", "a trailer"],
)
def test_an_endless_head_is_refused(talk: Talk, sent: bytes) -> None:
    answer = talk(sent)
    # Whoever still sends when the server closes may not see the answer.
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 "))
    assert talk(health()).startswith(b"HTTP/1.1 200 ")


def test_many_requests_at_once_are_no_large_head(talk: Talk) -> None:
    answer = talk(health(b"\r\n") * 5000 + health())
    assert answer.count(b"HTTP/1.1 200 ") == 5001


def test_a_body_is_no_head(talk: Talk) -> None:
    """One in many pieces is read to its end, as far as this goes; the app has its own limit."""
    body = b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000
    assert talk(body + health()).count(b"HTTP/1.1 200 ") == 2
