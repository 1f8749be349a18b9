"""Uvicorn's h11 protocol, which parses nothing of a request before the one before it is answered, is the oracle.

Whatever is sent, however it is cut, ours gives the same answers to the same requests, or a 400 and a close.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
from h11 import LocalProtocolError
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.attacks.games import HEADERS, LINES, SMUGGLED, SMUGGLING, UNFINISHED
from tests.attacks.sequences import SEQUENCES
from tests.attacks.standin import Connection, echo
from web.http1 import BoundedHttp

REST = b"\r\nHost: x\r\n{auth}\r\nConnection: close\r\n"
GAMES = {
    **{f"smuggling: {name}": build(argument, SMUGGLED) for name, (build, argument) in SMUGGLING.items()},
    **{f"unfinished: {name}": game for name, game in UNFINISHED.items()},
    **{f"line: {line[:60]!a}": line + REST + b"\r\n" for line in LINES},
    **{f"header: {header[:60]!a}": b"GET / HTTP/1.1" + REST + header + b"\r\n\r\n" for header in HEADERS},
    **SEQUENCES,
}

EMPTY_LINES = "empty lines before a request are ignored (RFC 9112, section 2.2), by h11 one of them"
ABSOLUTE = "h11 leaves the origin in the path, to the app"
# What ours answers with 200 where the oracle does not, or to another path, and why that is right.
DIFFERENCES = {
    "empty lines between": EMPTY_LINES,
    "empty lines before": EMPTY_LINES,
    "a bare LF between": EMPTY_LINES,
    "line: b'GET http://evil.example/api/tasks/{theirs} HTTP/1.1'": ABSOLUTE,
    "line: b'GET https://u:p@evil.example:8/api/tasks HTTP/1.1'": ABSOLUTE,
    "an absolute address": ABSOLUTE,
    "HTTP/2.0": "h11 keeps the connection; ours closes it behind any answer to another version than 1.1",
}
# Sequences that ours may refuse with a 400 and a close while the oracle serves them, as games with one request may be.
REFUSED = {
    "upgrade with length and chunks": "a server may refuse both at once (RFC 9112, section 6.1)",
    "CONNECT": "there are no tunnels, and no path",
    "CONNECT to a path": "the same",
    "early, then garbage in chunks": "no answer has begun when the garbage is there",
    "a list with garbage in chunks": "the same",
}


class Outcome(NamedTuple):
    """The final answers, and whether the server closed."""

    found: list[tuple[int, bytes]]
    closed: bool

    def agrees(self, oracle: "Outcome") -> bool:
        """Whether it is the same, or breaks off earlier with a 400 and a close."""
        *served, last = self.found or [(0, b"")]
        broken_off = last[0] == 400 and self.closed and served == oracle.found[: len(served)]
        return self == oracle or (broken_off and len(served) <= len(oracle.found))


async def play(http: type[Any], pieces: Iterable[bytes]) -> Outcome:
    connection = Connection(http, echo)
    closed = False
    try:
        await connection.say(*pieces)
    except LocalProtocolError:
        # The oracle's own way not to send a 400 inside an answer; the event loop closes the connection then.
        closed = True
    # A server may leave out 100 when the body is there already. The texts of a 400 differ.
    found = [(each.status, each.body * (each.status == 200)) for each in connection.answers() if each.status != 100]
    outcome = Outcome(found, closed or connection.transport.closed)
    await connection.leave()
    return outcome


def cuts(game: bytes) -> Iterable[list[bytes]]:
    """The whole, its first 600 bytes one by one, and two pieces wherever a line ends in them."""
    yield [game]
    yield [*(game[place : place + 1] for place in range(len(game[:600]))), *[game[600:]] * (len(game) > 600)]
    for end in re.finditer(rb"\r\n", game[:600]):
        for place in range(max(end.start(), 1), min(end.end() + 1, len(game))):
            yield [game[:place], game[place:]]


def filled(name: str) -> bytes:
    return GAMES[name].replace(b"{auth}", b"Authorization: Bearer x").replace(b"{theirs}", b"7")


@pytest.mark.parametrize("name", [name for name in GAMES if name not in DIFFERENCES])
def test_it_answers_as_the_oracle_does_however_the_bytes_arrive(name: str) -> None:
    async def compare() -> None:
        for pieces in cuts(filled(name)):
            ours = await play(BoundedHttp, pieces)
            oracle = await play(H11Protocol, pieces)
            strict = name in SEQUENCES and name not in REFUSED
            assert ours == oracle if strict else ours.agrees(oracle), (ours, oracle, pieces[:2])

    asyncio.run(compare())


@pytest.mark.parametrize("name", DIFFERENCES)
def test_what_the_oracle_answers_otherwise_is_the_same_however_the_bytes_arrive(name: str) -> None:
    async def outcomes() -> list[Outcome]:
        return [await play(BoundedHttp, pieces) for pieces in cuts(filled(name))]

    whole, *others = asyncio.run(outcomes())

    assert {status for status, _ in whole.found} == {200}
    assert [other for other in others if other != whole] == []
