"""Games with HTTP over the sockets of a real server: nobody gets another one's byte, and it goes on serving."""

import json

import pytest

from tests.attacks.games import BODY, BOMBS, HEADERS, LINES, SMUGGLED, SMUGGLING, UNFINISHED, post
from tests.attacks.live import TREASURE, Live
from tests.attacks.wire import Answer, answers, request, talk

MALLORY = "mallory"


def filled(attacked: Live, game: bytes) -> bytes:
    auth = attacked.authorization(MALLORY).encode()
    return game.replace(b"{auth}", auth).replace(b"{theirs}", str(attacked.theirs).encode())


def play(attacked: Live, game: bytes, *, hang_up: bool = False) -> list[Answer]:
    """The answers to the game: JSON, without another person's data, from a server that goes on serving."""
    received = talk(attacked.address, filled(attacked, game), hang_up=hang_up)
    assert TREASURE.encode() not in received
    assert attacked.still_serves()
    found = answers(received)
    assert {answer.header(b"content-type") for answer in found if answer.body} <= {b"application/json"}
    assert all("detail" in json.loads(answer.body) for answer in found if answer.status >= 400)
    return found


def tasks(attacked: Live) -> bytes:
    return attacked.call(MALLORY, "GET", "/api/tasks")[0].body


def name_of(game: bytes) -> str:
    return ascii(game[:60])[2:-1]


# The app answers 400 to these bodies, which end before the request behind them, of which the rest is garbage then.
SHORTER = ("length one too many", "no length")


@pytest.mark.parametrize("name", SMUGGLING)
def test_a_request_within_another_is_not_served(attacked: Live, name: str) -> None:
    """Of what a proxy may take for one request, at most one is answered, and nothing comes of the other."""
    build, argument = SMUGGLING[name]
    before = tasks(attacked)

    found = play(attacked, build(argument, filled(attacked, SMUGGLED)))

    assert [answer.status for answer in found] == [400] * (1 + (name in SHORTER))
    assert b"smuggled" not in [answer.header(b"x-request-id") for answer in found]
    assert tasks(attacked) == before


def test_two_requests_in_order_are_both_served(attacked: Live) -> None:
    """The control: without it, the test above could pass for the wrong reason."""
    first = post(b"Transfer-Encoding: chunked", b"00d;extension=x\r\n" + BODY + b"\r\n0\r\nTrailer: x\r\n\r\n")

    found = play(attacked, first + SMUGGLED)

    assert [answer.status for answer in found] == [201, 404]
    assert found[1].header(b"x-request-id") == b"smuggled"


@pytest.mark.parametrize("name", UNFINISHED)
def test_an_unfinished_request_does_nothing(attacked: Live, name: str) -> None:
    before = tasks(attacked)

    found = play(attacked, UNFINISHED[name], hang_up=True)

    assert {answer.status for answer in found} <= {100}
    assert tasks(attacked) == before


def test_whoever_is_refused_before_the_body_is_read_cannot_hide_a_request_in_it(attacked: Live) -> None:
    stranger = request("POST", "/api/tasks", body=filled(attacked, SMUGGLED), close=False)

    found = play(attacked, stranger + request("GET", "/health"))

    assert [(answer.status, answer.header(b"x-request-id") == b"smuggled") for answer in found] == [
        (401, False),
        (200, False),
    ]


@pytest.mark.parametrize("line", LINES, ids=name_of)
def test_a_request_line_is_read_in_one_way(attacked: Live, line: bytes) -> None:
    (answer,) = play(attacked, line + b"\r\nHost: x\r\n{auth}\r\nConnection: close\r\n\r\n")

    assert answer.status == LINES[line]


@pytest.mark.parametrize("header", HEADERS, ids=name_of)
def test_other_headers_change_nothing(attacked: Live, header: bytes) -> None:
    before = tasks(attacked)

    (answer,) = play(
        attacked, b"GET /api/tasks HTTP/1.1\r\nHost: x\r\n{auth}\r\nConnection: close\r\n" + header + b"\r\n\r\n"
    )

    assert answer.status == HEADERS[header]
    assert answer.status != 200 or answer.body == before
    assert tasks(attacked) == before


def test_an_authorization_in_a_trailer_is_ignored(attacked: Live) -> None:
    """Nor does it make two tokens."""
    chunks = b"d\r\n" + BODY + b"\r\n0\r\n" + attacked.authorization("eve").encode() + b"\r\n\r\n"
    before = attacked.call("eve", "GET", "/api/tasks")[0].body

    (answer,) = play(attacked, post(b"Connection: close\r\nTransfer-Encoding: chunked", chunks))

    assert answer.status == 201
    assert attacked.call(MALLORY, "GET", (answer.header(b"location") or b"").decode())[0].body == answer.body
    assert attacked.call("eve", "GET", "/api/tasks")[0].body == before


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_json_bomb_is_answered_and_does_no_harm(attacked: Live, name: str, method: str) -> None:
    body, status = BOMBS[name]
    mine = attacked.create(MALLORY, "Harmless")
    target = "/api/tasks" if method == "POST" else f"/api/tasks/{mine}"

    (answer,) = play(attacked, request(method, target, "{auth}", body=body))

    assert answer.status == (200 if (method, status) == ("PUT", 201) else status)
    assert json.loads(answer.body).keys() >= ({"id"} if answer.status < 400 else {"detail"})
