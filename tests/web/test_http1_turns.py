"""One request after the other on a connection: what waits for its turn, what breaks off, and who is told."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tests.attacks.games import BODY
from tests.attacks.sequences import CHUNKED, GARBAGE, INNER, UPGRADES, by_length, chunks, get, in_chunks
from tests.attacks.standin import Connection, echo, turns
from tests.attacks.wire import Answer
from web.http1 import MAXIMUM_HEAD, NO_HTTP, BoundedHttp

REFUSAL = json.dumps({"detail": NO_HTTP}, separators=(",", ":")).encode()


class Slow:
    """An app that reads the body (not at `/list`), begins its answer with the path, and ends it when it is told to."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        # Paths of requests that came, and of those whose client left before the end, in order.
        self.came: list[str] = []
        self.left: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.came.append(path)
        try:
            body = b"" if path == "/list" else await Request(scope, receive).body()
            await StreamingResponse(self.stream(path, body))(scope, receive, send)
        except ClientDisconnect:
            self.left.append(path)

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        yield path.encode()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.left.append(path)
            raise
        yield body


Story = Callable[[Connection, Slow], Awaitable[None]]


def playing(story: Story) -> None:
    """On a connection to a slow app, of which nothing may go on when the client has left."""

    async def play() -> None:
        app = Slow()
        connection = Connection(BoundedHttp, app)
        await story(connection, app)
        await connection.leave()
        assert connection.protocol.tasks == set()

    asyncio.run(play())


def brief(found: list[Answer]) -> list[tuple[int, bytes]]:
    return [(answer.status, answer.body) for answer in found]


def test_a_request_waits_until_the_one_before_it_is_answered() -> None:
    async def story(connection: Connection, app: Slow) -> None:
        await connection.say(get(b"/1") + by_length(b"/2") + in_chunks(b"/3") + get(b"/4"), get(b"/5"))
        assert app.came == ["/1"]

        app.gate.set()
        await turns()

        assert app.came == ["/1", "/2", "/3", "/4", "/5"]
        assert [answer.body for answer in connection.answers()] == [b"/1", b"/2" + BODY, b"/3" + BODY, b"/4", b"/5"]
        assert not connection.transport.closed

    playing(story)


def test_whoever_sends_ahead_is_kept_waiting_from_64_kib_on() -> None:
    """Although the app listens for a disconnect, for which uvicorn reads on."""

    async def story(connection: Connection, app: Slow) -> None:
        requests = INNER * (MAXIMUM_HEAD // len(INNER) + 1)
        await connection.say(get(b"/list"))
        await connection.say(requests[:1000])
        assert not connection.transport.paused
        await connection.say(requests[1000:])
        assert connection.transport.paused

        app.gate.set()
        while len(app.came) <= len(requests) / len(INNER):
            await turns()
        assert not connection.transport.paused

    playing(story)


def test_a_body_that_is_not_read_keeps_its_sender_waiting_behind_other_requests_too() -> None:
    """Those bytes count once they are a body, and not as held any more."""

    async def story(connection: Connection, app: Slow) -> None:
        head = get(b"/2", b"Content-Length: 1000000\r\n", method=b"POST")
        await connection.say(get(b"/1"), head + b"x" * 2 * MAXIMUM_HEAD)
        assert connection.transport.paused

        app.gate.set()
        await turns()
        # The app reads this one, which is not whole yet.
        assert (app.came, connection.transport.paused) == (["/1", "/2"], False)

    playing(story)


@pytest.mark.parametrize("before", [get(b"/1"), by_length(b"/1", b""), in_chunks(b"/1", b"x")])
def test_what_is_wrong_behind_a_request_is_told_after_its_answer(before: bytes) -> None:
    async def story(connection: Connection, app: Slow) -> None:
        await connection.say(before + GARBAGE, GARBAGE, INNER)
        app.gate.set()
        await turns()

        first, second = connection.answers()
        assert (first.status, first.body[:2]) == (200, b"/1")
        assert (second.status, second.body) == (400, REFUSAL)
        assert (app.came, connection.transport.closed) == (["/1"], True)

    playing(story)


def test_a_request_with_a_broken_body_is_refused_and_its_app_told() -> None:
    async def story(connection: Connection, app: Slow) -> None:
        await connection.say(get(b"/1", CHUNKED, method=b"POST") + b"1\r\nx\r\n", GARBAGE, INNER)

        assert brief(connection.answers()) == [(400, REFUSAL)]
        assert (app.came, app.left, connection.transport.closed) == (["/1"], ["/1"], True)

    playing(story)


def test_nothing_is_written_into_an_answer_whose_request_breaks_off() -> None:
    async def story(connection: Connection, app: Slow) -> None:
        await connection.say(get(b"/list", CHUNKED), GARBAGE)

        written = b"".join(connection.transport.written)
        assert (written.count(b"HTTP/1.1 "), written[-11:]) == (1, b"\r\n\r\n5\r\n/list\r\n"[-11:])
        assert connection.transport.closed
        assert app.came == ["/list"]

    playing(story)


def test_a_request_answered_already_is_not_refused_for_its_body() -> None:
    async def play() -> None:
        connection = Connection(BoundedHttp, echo)
        await connection.say(get(b"/early", CHUNKED, method=b"POST"), GARBAGE)
        found = connection.answers()

        assert ([answer.status for answer in found], connection.transport.closed) == ([200], True)

    asyncio.run(play())


@pytest.mark.parametrize("path", [b"/list", b"/1"])
def test_the_app_hears_of_a_client_that_leaves_and_never_of_what_it_had_sent_ahead(path: bytes) -> None:
    async def story(connection: Connection, app: Slow) -> None:
        await connection.say(get(path) + get(b"/2"), get(b"/3"))
        await connection.leave()
        app.gate.set()
        await turns()

        assert (app.came, app.left) == ([path.decode()], [path.decode()])

    playing(story)


@pytest.mark.parametrize("request_head", [b"CONNECT inner:443 HTTP/1.1\r\n", b"CONNECT / HTTP/1.1\r\nUpgrade: h2c\r\n"])
def test_connect_is_refused(request_head: bytes) -> None:
    async def story(connection: Connection, app: Slow) -> None:
        await connection.say(request_head + b"Host: x\r\n\r\n" + INNER)

        assert brief(connection.answers()) == [(400, REFUSAL)]
        assert (app.came, connection.transport.closed) == ([], True)

    playing(story)


@pytest.mark.parametrize("pieces", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("send", [by_length, in_chunks])
@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
def test_an_upgrade_is_ignored_and_its_body_read(send: Callable[..., bytes], upgrade: bytes, pieces: bool) -> None:
    """`curl --http2` sends one with each request."""
    request = send(b"/1", headers=upgrade)
    cut = request.index(b"\r\n\r\n") + 4

    async def play() -> None:
        connection = Connection(BoundedHttp, echo)
        await connection.say(*([request[:cut], request[cut:]] if pieces else [request]))
        found = connection.answers()

        assert [(answer.status, json.loads(answer.body)[:3]) for answer in found] == [
            (200, ["POST", "/1", BODY.decode()])
        ]

    asyncio.run(play())


# What a stranger hides in a body: a request, one that goes on in what comes behind it, and both far behind the head.
HIDDEN = {
    "a request": INNER,
    "the beginning of a request": INNER[:-2] + b"X: ",
    "a request behind empty lines": b"\r\n" * 20_000 + INNER,
    "a request between chunks": chunks(b"x") + INNER,
}


@pytest.mark.parametrize("hidden", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize("send", [by_length, in_chunks])
@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
def test_the_next_person_on_a_shared_connection_gets_their_own_answer(
    send: Callable[..., bytes], upgrade: bytes, hidden: bytes
) -> None:
    """A proxy sends a stranger's request, gives the stranger the answer, and then sends somebody else's request."""
    request = send(b"/stranger", hidden, upgrade.replace(b"close, ", b""))
    body = request.index(b"\r\n\r\n") + 4

    async def play() -> None:
        connection = Connection(BoundedHttp, echo)
        for pieces in ([request], [request[:body], request[body:]], re.findall(rb"(?s).{1,999}", request)):
            answered = len(connection.answers())
            await connection.say(*pieces)
            await connection.say(get(b"/victim"))
            found = connection.answers()

            paths = [json.loads(answer.body)[1] for answer in found[answered:]]
            assert paths == ["/stranger", "/victim"]

    asyncio.run(play())
