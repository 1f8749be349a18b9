"""What an operator watches, of real processes: the metrics of all workers, and a log of JSON alone."""

import json
import shutil
import socket
from contextlib import closing
from pathlib import Path

import httpx2
import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.backend import ROOT, SERVE, UVICORN, backend, end
from tests.support.processes import Process
from tests.support.proxy import HOST, free_port
from tests.support.sentences import NOT_SET

by_workers = pytest.mark.parametrize("workers", ["1", "3"])
REQUESTS = 40


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/todo.db"


def samples(port: int) -> dict[str, float]:
    lines = httpx2.get(f"http://{HOST}:{port}/metrics", timeout=10).text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


HEALTH = 'todo_http_requests_total{method="GET",route="/openapi.json",status="200"}'


def ask(api: str) -> None:
    """Over connections of their own, which the workers share out."""
    for _ in range(REQUESTS):
        assert httpx2.get(f"{api}/openapi.json").status_code == 200


def wait_for(process: Process, port: int, **expected: float) -> None:
    """Until the metrics are these: a worker writes its own once a second."""
    names = {"requests": HEALTH, "workers": "todo_workers"}
    process.wait_until(lambda: all(samples(port).get(names[name], 0) == value for name, value in expected.items()))


@by_workers
def test_one_scrape_gives_the_sum_of_all_workers(url: str, workers: str) -> None:
    port = free_port()
    with backend(url, WEB_CONCURRENCY=workers, METRICS_PORT=str(port)) as (process, api):
        wait_for(process, port, workers=int(workers))
        ask(api)

        wait_for(process, port, workers=int(workers), requests=REQUESTS)
        # Not on the API's own port, and the API not on this one.
        assert httpx2.get(f"{api}/metrics").status_code == 404
        assert process.terminate() == 0


def test_a_worker_that_dies_takes_its_gauges_along_and_leaves_its_counters(url: str) -> None:
    port = free_port()
    with backend(url, WEB_CONCURRENCY="2", METRICS_PORT=str(port)) as (process, api):
        wait_for(process, port, workers=2)
        ask(api)
        wait_for(process, port, workers=2, requests=REQUESTS)
        # The resource tracker of multiprocessing is a child as well.
        family = psutil.Process(process.pid).children()
        worker = next(child for child in family if "spawn_main" in "".join(child.cmdline()))

        worker.kill()
        process.wait_until(lambda: process.output().count("Application startup complete") == 3)

        wait_for(process, port, workers=2, requests=REQUESTS)
        ask(api)
        wait_for(process, port, workers=2, requests=2 * REQUESTS)


def test_the_folder_of_the_metrics_is_removed(url: str, tmp_path: Path) -> None:
    port = free_port()
    with backend(url, METRICS_PORT=str(port), TMPDIR=str(tmp_path)) as (process, _):
        wait_for(process, port, workers=1)
        assert [folder.stat().st_mode & 0o777 for folder in tmp_path.glob("todo-metrics-*")] == [0o700]
        assert process.terminate() == 0

    assert list(tmp_path.glob("todo-metrics-*")) == []


@pytest.mark.parametrize("form", ["text", "json"])
@by_workers
def test_a_port_for_metrics_that_is_taken_is_one_sentence(url: str, workers: str, form: str) -> None:
    variables = {"DATABASE_URL": url, "WEB_CONCURRENCY": workers, "LOG_FORMAT": form}
    with closing(socket.create_server((HOST, 0))) as listener:
        port = listener.getsockname()[1]
        status, lines = end(SERVE, {**variables, "METRICS_PORT": str(port)})

    sentence = (
        f"Cannot start: METRICS_PORT is {port}, which cannot be had at {HOST} (Address already in use); "
        "give it a free port, or end what listens there."
    )
    assert (status, [json.loads(line)["message"] for line in lines] if form == "json" else lines) == (1, [sentence])


@pytest.mark.parametrize("command", [SERVE, [*SERVE, "--reload"]], ids=["served", "reloading"])
@by_workers
def test_all_that_a_server_writes_is_json(url: str, workers: str, command: list[str]) -> None:
    with backend(url, command, WEB_CONCURRENCY=workers, LOG_FORMAT="json") as (process, api):
        assert httpx2.get(f"{api}/api/tasks").status_code == 401
        process.wait_until(lambda: '"GET /api/tasks 401 ' in process.output())
        process.terminate()
    lines = [json.loads(line) for line in process.output().splitlines()]

    assert [line for line in lines if not line.keys() >= {"time", "level", "logger", "message"}] == []
    assert {"uvicorn.error", "todo.access"} <= {line["logger"] for line in lines}
    assert {line["level"] for line in lines} <= {"INFO", "WARNING"}


def test_with_uvicorn_alone_all_is_json_once_the_app_was_found(url: str) -> None:
    with backend(url, [*UVICORN, "app:app"], LOG_FORMAT="json") as (process, api):
        assert httpx2.get(f"{api}/api/tasks").status_code == 401
        assert process.terminate() == 0

    messages = [json.loads(line)["message"] for line in process.output().splitlines()]
    assert messages[0].startswith("Started server process")
    assert messages[-1].startswith("Finished server process")


@by_workers
def test_a_start_that_fails_is_json_too(url: str, workers: str, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    others = shutil.ignore_patterns(".*", "bench", "examples", "tests", "*.db*", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=others)
    with (folder / "store.py").open("a") as source:
        source.write('raise ImportError("It is not there.")')
    variables = {"DATABASE_URL": url, "WEB_CONCURRENCY": workers, "LOG_FORMAT": "json"}

    failed = end(SERVE, variables, folder)
    without = end(SERVE, {**variables, "BETTER_AUTH_SECRET": ""})

    assert (failed[0], len(failed[1])) == (1, 1)
    line = json.loads(failed[1][0])
    assert (line["level"], line["message"]) == ("CRITICAL", "Not caught: ImportError")
    assert line["traceback"].endswith("ImportError: It is not there.")
    assert (without[0], [json.loads(line)["message"] for line in without[1]]) == (1, [f"Cannot start: {NOT_SET}"])
