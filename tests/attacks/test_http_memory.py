"""What a client can make the server keep in memory: by sending ahead, by reading slowly, by an old version of HTTP."""

import json
import select
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.attacks.sequences import get
from tests.attacks.wire import answers, request, talk
from tests.faults.processes import resident
from tests.support.backend import backend
from tests.support.processes import Process
from tests.support.tokens import token_of

MIB = 2**20
ADA = f"Authorization: Bearer {token_of('ada')}"
# Of Ada; as JSON, 500 of them are 3 MiB.
TASKS = """
    WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?)
    INSERT INTO tasks (user_id, title, description, completed, created_at, updated_at)
    SELECT 'ada', 'Write', ?, FALSE, moment, moment
    FROM (SELECT printf('2026-01-01 00:00:00.%06d', number) AS moment FROM numbers)
"""

Served = tuple[Process, str, Path]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The backend, its address and its database, in which Ada is known."""
    path = tmp_path / "todo.db"
    with backend(f"sqlite:///{path}", LOG_LEVEL="ERROR") as (process, address):
        talk(address, request("GET", "/api/tasks", ADA))
        yield process, address, path
        assert [answer.status for answer in answers(talk(address, request("GET", "/health")))] == [200]
        assert "Traceback" not in process.output()


def fill(path: Path, count: int, description: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(TASKS, [count, description])


def connect(address: str, buffer: int = 4096) -> socket.socket:
    """With room for so many bytes that are not read yet, or a few more."""
    parts = urlsplit(address)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.connect((parts.hostname, parts.port))
    return connection


def test_reading_stops_from_a_client_that_sends_without_reading(served: Served) -> None:
    process, address, _ = served
    before, sent = resident(process.pid), 0
    with closing(connect(address)) as connection:
        connection.setblocking(False)
        # A second without room for more is taken for the end.
        while sent < 32 * MIB and select.select([], [connection], [], 1)[1]:
            sent += connection.send(get(b"/health") * 1000)

    assert sent < 32 * MIB
    assert resident(process.pid) - before < 16 * MIB


@pytest.mark.parametrize("query", ["", "?limit=500"])
def test_slow_readers_of_a_long_list_cost_little(served: Served, query: str) -> None:
    process, address, path = served
    fill(path, 1000, "\x01" * 1000)
    before = resident(process.pid)
    with ExitStack() as stack:
        readers = [stack.enter_context(closing(connect(address))) for _ in range(200)]
        # Some at a time, so that on a busy machine too the last one is served within the deadline.
        for start in range(0, len(readers), 20):
            some = readers[start : start + 20]
            for reader in some:
                reader.sendall(request("GET", f"/api/tasks{query}", ADA))
            for reader in some:
                assert reader.recv(100).startswith(b"HTTP/1.1 200 ")
        # Whatever can be written by now is.
        talk(address, request("GET", f"/api/tasks{query}", ADA))
        grown = resident(process.pid) - before

    assert grown < 100 * MIB


def test_a_long_list_by_http_1_0_is_never_in_memory_as_a_whole(served: Served) -> None:
    process, address, path = served
    fill(path, 30_000, "x" * 1000)
    before = resident(process.pid)
    with closing(connect(address, MIB)) as connection:
        connection.sendall(request("GET", "/api/tasks", ADA).replace(b"HTTP/1.1", b"HTTP/1.0"))
        received = [connection.recv(MIB)]
        grown = resident(process.pid) - before
        while piece := connection.recv(MIB):
            received.append(piece)

    (answer,) = answers(b"".join(received))
    assert grown < 16 * MIB
    assert (answer.status, len(json.loads(answer.body))) == (200, 30_000)
    assert not {b"content-length", b"transfer-encoding"} & dict(answer.headers).keys()


def test_who_sends_ahead_and_leaves_causes_no_error(served: Served) -> None:
    """The server looks for errors in its log."""
    _, address, path = served
    fill(path, 1000, "x" * 1000)
    for what in (get(b"/ready"), request("GET", "/api/tasks", ADA, close=False)):
        for _ in range(50):
            with closing(connect(address)) as connection:
                connection.sendall(what * 8)
