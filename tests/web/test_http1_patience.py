"""When the server ends a connection by itself, and how an answer to HTTP/1.0 ends."""

import asyncio

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.attacks.sequences import CHUNKED, INNER, by_length, get
from tests.attacks.standin import Connection, echo, turns
from web.http1 import BoundedHttp

HALF_A_HEAD = b"GET / HTTP/1.1\r\nHost"
HALF_A_BODY = by_length(body=b"x" * 1000)[:-10]


async def unanswered(_scope: Scope, receive: Receive, _send: Send) -> None:
    """Reads the body and waits until the client leaves."""
    while (await receive())["type"] == "http.request":
        pass


def seconds(said: bytes, *, every_second: bytes = b"", app: ASGIApp = echo, unread: int = 0, reads: int = 0) -> float:
    """How long a connection lasts, an hour at most, on which this is said; the client reads a bit of what is unread."""

    async def play() -> float:
        connection = Connection(BoundedHttp, app)
        clock, transport = connection.clock, connection.transport
        transport.unread = unread
        await connection.say(said)
        while clock.now < 3600 and not transport.aborted and (unread or not transport.closed):
            await connection.say(every_second)
            transport.unread = max(transport.unread - reads, 0)
            await clock.pass_a_second()
        await connection.leave()
        assert connection.protocol.tasks == set()
        return clock.now

    return asyncio.run(play())


@pytest.mark.parametrize(
    ("said", "every_second"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(b"", b"\r\n", id="empty-lines"),
        pytest.param(HALF_A_HEAD, b"", id="half-a-head"),
        pytest.param(HALF_A_HEAD, b"x", id="a-head-byte-by-byte"),
        pytest.param(INNER + HALF_A_HEAD, b"", id="half-a-head-behind-an-answer"),
        pytest.param(INNER + HALF_A_HEAD, b"x", id="a-head-byte-by-byte-behind-an-answer"),
        pytest.param(INNER, b"\r\n", id="empty-lines-behind-an-answer"),
        pytest.param(HALF_A_BODY, b"", id="half-a-body"),
        pytest.param(HALF_A_BODY.replace(b"/ ", b"/early "), b"", id="half-a-body-of-what-is-answered"),
        pytest.param(get(headers=CHUNKED) + b"1;", b"x", id="the-extension-of-a-chunk-byte-by-byte"),
        pytest.param(get(headers=CHUNKED) + b"1\r\nx\r\n0\r\nX:", b"x", id="a-trailer-byte-by-byte"),
    ],
)
def test_a_connection_without_progress_is_aborted_within_a_minute(said: bytes, every_second: bytes) -> None:
    assert seconds(said, every_second=every_second) <= 60


@pytest.mark.parametrize("said", [INNER, get(headers=b"Connection: close\r\n"), get() + HALF_A_HEAD, b"nonsense\r\n"])
def test_a_client_that_does_not_read_is_disconnected(said: bytes) -> None:
    """Even when the connection is being closed, which waits for the client to take what is written."""
    assert 30 <= seconds(said, unread=100) <= 60


def test_a_client_that_sends_but_does_not_read_is_disconnected() -> None:
    assert 30 <= seconds(get(b"/early", CHUNKED), every_second=b"1\r\nx\r\n", unread=100) <= 60


def test_a_client_that_reads_slowly_is_not_disconnected() -> None:
    assert seconds(INNER, app=unanswered, unread=10_000, reads=1) == 3600


def test_a_client_that_sends_a_body_slowly_is_not_disconnected() -> None:
    assert seconds(get(headers=b"Content-Length: 10000\r\n"), every_second=b"x") == 3600


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(INNER, id="a-request"),
        pytest.param(INNER + HALF_A_HEAD, id="and-half-of-the-next"),
        pytest.param(by_length(), id="a-body"),
    ],
)
def test_a_client_that_waits_for_the_app_is_not_disconnected(said: bytes) -> None:
    assert seconds(said, app=unanswered) == 3600


def test_a_client_whose_body_the_app_does_not_read_is_not_disconnected() -> None:
    """A body of more than 64 KiB waits for the app to take what is there."""

    async def play() -> None:
        gate = asyncio.Event()

        async def later(_scope: Scope, _receive: Receive, _send: Send) -> None:
            await gate.wait()

        connection = Connection(BoundedHttp, later)
        await connection.say(get(headers=b"Content-Length: 1000000\r\n") + b"x" * 100_000)
        while connection.clock.now < 100:
            await connection.clock.pass_a_second()
        assert (connection.transport.closed, connection.transport.paused) == (False, True)
        await connection.leave()
        gate.set()
        await turns()
        assert connection.protocol.tasks == set()

    asyncio.run(play())


def test_between_requests_the_servers_own_limit_counts() -> None:
    """Of five seconds, unless `--timeout-keep-alive` sets another."""
    assert seconds(INNER) == 5
    assert seconds(by_length()) == 5
    assert seconds(INNER * 3) == 5


@pytest.mark.parametrize("version", [b"1.0", b"0.9", b"2.0"])
@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        (b"GET", b"/list", b"", b"012"),
        (b"GET", b"/list", b"Connection: keep-alive\r\n", b"012"),
        (b"HEAD", b"/list", b"", b""),
    ],
    ids=["a stream", "kept alive", "HEAD"],
)
def test_without_chunks_an_answer_ends_with_the_connection(
    method: bytes, path: bytes, headers: bytes, body: bytes, version: bytes
) -> None:
    """Nor does it tell a length (RFC 9112, section 6.3)."""

    async def play() -> None:
        connection = Connection(BoundedHttp, echo)
        await connection.say(get(path, headers, version, method) + INNER)

        written = b"".join(connection.transport.written)
        assert written == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body
        assert connection.transport.closed

    asyncio.run(play())


def test_http_1_0_gets_the_length_that_the_app_tells() -> None:
    async def play() -> None:
        connection = Connection(BoundedHttp, echo)
        await connection.say(by_length(version=b"1.0", headers=b"Expect: 100-continue\r\n") + INNER)

        # Nor is it asked to go on, which it would take for the answer (RFC 9110, section 10.1.1).
        (answer,) = connection.answers()
        assert (answer.status, answer.header(b"content-length")) == (200, b"%d" % len(answer.body))
        assert connection.transport.closed

    asyncio.run(play())


def test_http_1_1_is_asked_to_go_on_with_its_body() -> None:
    async def play() -> None:
        connection = Connection(BoundedHttp, echo)
        await connection.say(get(headers=b"Expect: 100-continue\r\nContent-Length: 1\r\n"))
        assert connection.transport.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]

        await connection.say(b"x")
        await turns()
        assert [answer.status for answer in connection.answers()] == [100, 200]

    asyncio.run(play())
