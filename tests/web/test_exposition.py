"""The files of the workers become one answer, and the port that gives it comes and goes."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.support.proxy import HOST, free_port
from web.exposition import Workers, serve_metrics
from web.metrics import FOLDER


@pytest.fixture
def port() -> int:
    return free_port()


def write(folder: Path, process: int, name: str, counted: int, busy: int) -> None:
    """A file as a worker writes it."""
    content = {
        "counters": [["tokens_refused", ["expired"], [counted]]],
        "gauges": [["database_pool_in_use", [], [busy]]],
    }
    (folder / f"{process}-{name}.json").write_text(json.dumps(content))


def read(registry: CollectorRegistry) -> tuple[float | None, float | None]:
    return (
        registry.get_sample_value("todo_tokens_refused_total", {"reason": "expired"}),
        registry.get_sample_value("todo_database_pool_in_use"),
    )


@pytest.fixture
def ended() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_worker_that_has_ended_leaves_its_counters_and_nothing_else(tmp_path: Path, ended: int) -> None:
    registry = CollectorRegistry()
    registry.register(Workers(tmp_path))
    alive = os.getpid()
    seen = [read(registry)]
    write(tmp_path, alive, "a", 2, 1)
    seen.append(read(registry))
    write(tmp_path, ended, "b", 3, 4)
    seen.append(read(registry))
    seen.append(read(registry))
    # Another one with the same id, which it had and lost.
    write(tmp_path, ended, "c", 5, 6)
    write(tmp_path, alive, "a", 3, 0)
    seen.append(read(registry))

    assert seen == [(None, 0), (2, 1), (5, 1), (5, 1), (11, 0)]
    assert [file.name for file in tmp_path.iterdir()] == [f"{alive}-a.json"]


def test_a_process_of_somebody_elses_is_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The id of a worker that has ended may have gone to it."""

    def refuse(*_: int) -> None:
        raise PermissionError

    write(tmp_path, os.getpid(), "a", 2, 1)
    monkeypatch.setattr(os, "kill", refuse)
    registry = CollectorRegistry()
    registry.register(Workers(tmp_path))

    assert read(registry) == (2, 0)


def test_a_port_that_is_taken_is_a_sentence(port: int) -> None:
    with serve_metrics(HOST, port), pytest.raises(SystemExit) as end, serve_metrics(HOST, port):
        pytest.fail("it is served")

    assert str(end.value) == (
        f"Cannot start: METRICS_PORT is {port}, which cannot be had at {HOST} (Address already in use); "
        "give it a free port, or end what listens there."
    )


def test_an_address_of_ipv6_is_served(port: int) -> None:
    """One that is there without any network of IPv6."""
    with (
        serve_metrics(f"::ffff:{HOST}", port),
        urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=10) as answer,
    ):
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert b"todo_workers 0.0\n" in answer.read()


def test_what_is_left_afterwards_is_nothing(port: int) -> None:
    with serve_metrics(HOST, port):
        folder = Path(os.environ[FOLDER])
        assert folder.stat().st_mode & 0o777 == 0o700

    assert not folder.exists()
    assert FOLDER not in os.environ
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=10)


def test_a_scrape_that_fails_is_a_line(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with serve_metrics(HOST, port):
        (Path(os.environ[FOLDER]) / f"{os.getpid()}-a.json").write_text("no JSON")
        with pytest.raises(OSError, match="closed connection"):
            urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=10)

    assert [record.getMessage() for record in caplog.records] == [
        "A scrape failed: Expecting value: line 1 column 1 (char 0)"
    ]
