"""The bound on what a request may send besides its body, on a real socket; and what a connection writes."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from app import create_app
from settings import Settings
from tests.attacks.standin import Transport
from tests.attacks.wire import answers as answers_in
from tests.attacks.wire import talk as talk_to
from tests.support.processes import answers
from tests.support.proxy import HOST, free_port
from tests.support.tokens import SECRET
from web.http1 import MAXIMUM_HEAD, NO_HTTP, TOO_LARGE, BoundedHttp, JoinedWrites

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


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        pytest.param(b"nonsense\r\n\r\n", NO_HTTP, id="nonsense"),
        pytest.param(health(b"Content-Length: many\r\n\r\n"), NO_HTTP, id="length"),
        pytest.param(b"GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n", NO_HTTP, id="address"),
        pytest.param(b"GET /health HTTP/1.1\r\n\r\n", NO_HTTP, id="no-host"),
        pytest.param(health(b"Host: y\r\n\r\n"), NO_HTTP, id="two-hosts"),
        pytest.param(health(b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), NO_HTTP, id="encoding"),
        pytest.param(b"\r\n" * (MAXIMUM_HEAD // 2) + b"\r", TOO_LARGE, id="too-large"),
    ],
)
def test_what_is_no_http_is_told_so_in_json(talk: Talk, sent: bytes, detail: str) -> None:
    """With the headers of every other answer, but for the id of a request that never was."""
    (answer,) = answers_in(talk(sent))

    assert (answer.status, json.loads(answer.body)) == (400, {"detail": detail})
    assert {name: value for name, value in answer.headers if name not in (b"date", b"server")} == {
        b"content-type": b"application/json",
        b"content-length": b"%d" % len(answer.body),
        b"cache-control": b"no-store",
        b"x-content-type-options": b"nosniff",
        b"connection": b"close",
    }


def test_many_requests_at_once_are_no_large_head(talk: Talk) -> None:
    answer = talk(health(b"\r\n") * 5000 + health())
    assert answer.count(b"HTTP/1.1 200 ") == 5001


def test_a_body_is_no_head(talk: Talk) -> None:
    """One in many pieces is read to its end, as far as this goes; the app has its own limit."""
    body = b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000
    assert talk(body + health()).count(b"HTTP/1.1 200 ") == 2


def written(steps: list[Any]) -> list[bytes]:
    """What reaches the transport: bytes are written; None stands for a turn of the event loop."""
    transport = Transport()

    async def write() -> None:
        joined: Any = JoinedWrites(transport)  # type: ignore[arg-type]
        for step in steps:
            if step is None:
                await asyncio.sleep(0)
            elif step == "close":
                joined.close()
            elif step == "gone":
                transport.close()
            else:
                joined.write(step)
        await asyncio.sleep(0)
        assert joined.is_closing() == transport.closed

    asyncio.run(write())
    return transport.written


@pytest.mark.parametrize(
    ("steps", "pieces"),
    [
        ([b"head", b"body"], [b"headbody"]),
        ([b"head", b""], [b"head"]),
        ([b"head", None, b"body"], [b"head", b"body"]),
        ([b"head", b"first", b"second"], [b"headfirst", b"second"]),
        ([b"head", "close"], [b"head"]),
        ([b"head", b"body", "close"], [b"headbody"]),
        ([b"head", "gone"], []),
    ],
)
def test_what_is_written_at_once_is_sent_at_once(steps: list[Any], pieces: list[bytes]) -> None:
    assert written(steps) == pieces


@given(st.lists(st.none() | st.binary(max_size=3)))
def test_nothing_is_lost_or_moved(steps: list[Any]) -> None:
    assert b"".join(written([*steps, "close"])) == b"".join(step for step in steps if step)


def served(pieces: list[bytes]) -> Transport:
    """By uvicorn and the whole app, on a transport that counts, to which these pieces come until it is closed."""
    transport = Transport()
    app = create_app(Settings(secret=SECRET, database_url="sqlite://"))

    async def serve() -> None:
        protocol = BoundedHttp(uvicorn.Config(app, ws="none", log_config=None), ServerState(), {})
        protocol.connection_made(transport)  # type: ignore[arg-type]
        for piece in pieces:
            if not transport.closed:
                protocol.data_received(piece)
            while protocol.tasks:
                await asyncio.gather(*protocol.tasks)

    asyncio.run(serve())
    return transport


@pytest.mark.parametrize("path", ["/health", "/api/tasks", "/nowhere"])
def test_an_answer_is_one_write(path: str) -> None:
    transport = served([f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()])

    assert len(transport.written) == 1
    assert transport.written[0].startswith(b"HTTP/1.1 ")
    assert transport.written[0].endswith(b"}")
    assert transport.closed


def head(size: int, in_path: bool) -> bytes:
    """One of so many bytes, of a request with a body of 100,000."""
    rest = b"Host: x\r\nContent-Length: 100000\r\nX: "
    padding = b"a" * (size - len(b"GET /health? HTTP/1.1\r\n" + rest + b"\r\n\r\n"))
    path, value = (padding, b"") if in_path else (b"", padding)
    return b"GET /health?" + path + b" HTTP/1.1\r\n" + rest + value + b"\r\n\r\n"


@pytest.mark.parametrize("cut", [0, 1, 60_000, 70_000, 180_000, 290_000])
@pytest.mark.parametrize("in_path", [False, True], ids=["header", "path"])
@pytest.mark.parametrize(
    ("size", "statuses"),
    [(1000, [200, 200]), (MAXIMUM_HEAD, [200, 200]), (MAXIMUM_HEAD + 1, [400]), (190_000, [400])],
    ids=str,
)
def test_a_head_ends_at_its_bound_however_it_arrives(size: int, statuses: list[int], in_path: bool, cut: int) -> None:
    """With its body and another request behind it, in up to three reads."""
    sent = head(size, in_path) + b"x" * 100_000 + health()

    transport = served([piece for piece in (sent[:cut], sent[cut : cut + 20_000], sent[cut + 20_000 :]) if piece])

    assert [answer.status for answer in answers_in(b"".join(transport.written))] == statuses
    assert transport.closed


def test_a_bound_is_one_of_each_request() -> None:
    """Large heads behind each other, on one connection."""
    transport = served([head(60_000, in_path=False) + b"x" * 100_000] * 3 + [head(MAXIMUM_HEAD + 1, in_path=False)])

    found = answers_in(b"".join(transport.written))

    assert [answer.status for answer in found] == [200, 200, 200, 400]
    assert json.loads(found[-1].body) == {"detail": TOO_LARGE}
