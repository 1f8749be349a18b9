"""What an import and an export of 100,000 tasks make the server keep in memory, while others are served."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.faults.processes import resident
from tests.support.backend import backend
from tests.support.processes import Process
from tests.support.tokens import bearer, token_of

MIB = 2**20
COUNT = 100_000
LINE = json.dumps({"title": "Write it down", "description": "Some words. " * 10, "due_date": "2026-12-24"}) + "\n"


def growth_during(process: Process, address: str, work: Callable[[], Any]) -> tuple[float, int, Any]:
    """By how much its memory grew meanwhile, how many requests of Bob's it answered, and what the work gave."""
    done, peak, served = threading.Event(), [before := resident(process.pid)], 0

    def watch() -> None:
        nonlocal served
        with httpx2.Client(base_url=address, headers=bearer(token_of("bob")), timeout=60) as bob:
            while not done.wait(0.05):
                peak.append(resident(process.pid))
                served += bob.get("/api/tasks").status_code == 200

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        result = work()
    finally:
        done.set()
        watching.join()
    return max(peak) - before, served, result


@pytest.mark.parametrize("database", ["sqlite_url", "postgres_url"])
def test_a_hundred_thousand_tasks_come_and_go_in_little_memory(request: pytest.FixtureRequest, database: str) -> None:
    database_url = request.getfixturevalue(database)
    with (
        backend(database_url, LOG_LEVEL="ERROR") as (process, address),
        httpx2.Client(base_url=address, headers=bearer(token_of("ada")), timeout=300) as ada,
    ):
        for headers in (bearer(token_of("ada")), bearer(token_of("bob"))):
            assert ada.get("/api/tasks", headers=headers).json() == []

        def export() -> int:
            with ada.stream("GET", "/api/export") as answer:
                return sum(part.count(b"\n") for part in answer.iter_bytes())

        came, served, answer = growth_during(
            process, address, lambda: ada.post("/api/import", content=(LINE * COUNT).encode())
        )
        went, served_again, exported = growth_during(process, address, export)
        ended = ada.delete("/api/me")

    assert (answer.json(), exported, ended.status_code) == ({"count": COUNT}, COUNT, 204)
    assert max(came, went) < 64 * MIB
    assert served > 0
    assert served_again > 0


def test_what_cannot_be_compressed_stays_within_bounds_too(tmp_path: Path) -> None:
    """60 MiB of text from which nothing can be left out, of which the last line is bad."""

    def text() -> Iterator[bytes]:
        source = random.Random(1)  # noqa: S311 - text that cannot be compressed
        for _ in range(60):
            yield b"".join(
                b'{"title":"x","description":"%b"}\n' % source.randbytes(495).hex().encode() for _ in range(1024)
            )
        yield b"{}"

    with (
        backend(f"sqlite:///{tmp_path}/todo.db", LOG_LEVEL="ERROR") as (process, address),
        httpx2.Client(base_url=address, headers=bearer(token_of("ada")), timeout=300) as ada,
    ):
        ada.get("/api/tasks")
        grown, _, answer = growth_during(process, address, lambda: ada.post("/api/import", content=text()))

    assert answer.status_code == 400
    assert grown < 64 * MIB
