"""Serving, as real processes: how the server is started, how a start fails, and how it ends."""

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.backend import PATH, ROOT, SERVE, UVICORN, backend, end, listening, procfile
from tests.support.processes import answers
from tests.support.proxy import HOST
from tests.support.sentences import NOT_SET
from tests.support.tokens import bearer, token_of

ADA = bearer(token_of("ada"))
by_workers = pytest.mark.parametrize("workers", ["1", "3"])


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/todo.db"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the app's source, to be changed."""
    others = shutil.ignore_patterns(".*", "bench", "examples", "tests", "*.db*", "__pycache__")
    shutil.copytree(ROOT, tmp_path, ignore=others, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def port() -> Iterator[int]:
    """One that is taken."""
    with closing(socket.create_server((HOST, 0))) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("target", ["app:app", "main:app"])
def test_uvicorn_finds_the_app_by_both_names(target: str, url: str) -> None:
    with backend(url, [*UVICORN, target]) as (process, api):
        assert httpx2.get(f"{api}/api/tasks", headers=ADA).json() == []
        assert process.terminate() == 0


@by_workers
def test_the_procfile_serves_and_ends_with_0(url: str, workers: str) -> None:
    with backend(url, procfile("web"), PATH=PATH, WEB_CONCURRENCY=workers) as (process, api):
        assert httpx2.get(f"{api}/api/tasks", headers=ADA).json() == []
        assert process.terminate() == 0


def test_empty_variables_count_as_unset(url: str) -> None:
    """Uvicorn would end with a traceback, or believe no proxy."""
    with backend(url, WEB_CONCURRENCY="", FORWARDED_ALLOW_IPS="") as (process, api):
        assert httpx2.get(f"{api}/api/tasks", headers=ADA).json() == []
        assert process.terminate() == 0


@by_workers
def test_a_server_that_is_asked_to_stop_again_and_again_ends_with_0(url: str, workers: str) -> None:
    with backend(url, WEB_CONCURRENCY=workers) as (process, _):
        process.wait_until(lambda: process.output().count("Application startup complete") == int(workers))
        server = psutil.Process(process.pid)
        while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
            server.terminate()

        assert process.terminate() == 0


def test_it_reloads_when_its_source_changes(copy: Path) -> None:
    with backend("sqlite:///./todo.db", [*SERVE, "--reload"], folder=copy) as (process, api):
        service = copy / "endpoints" / "service.py"
        service.write_text(service.read_text().replace('{"status": "ok"}', '{"status": "reloaded"}'))

        def reloaded() -> bool:
            # Nobody listens while the new process starts.
            with suppress(httpx2.TransportError):
                return bool(httpx2.get(f"{api}/health").json() == {"status": "reloaded"})
            return False

        process.wait_until(reloaded)
        assert reloaded()


@by_workers
def test_the_procfile_stops_with_a_sentence_when_the_secret_is_missing(workers: str) -> None:
    """Uvicorn alone would go on restarting workers that cannot start."""
    assert end(procfile("web"), {"BETTER_AUTH_SECRET": "", "WEB_CONCURRENCY": workers}) == (
        1,
        [f"Cannot start: {NOT_SET}"],
    )


@by_workers
def test_a_port_that_is_taken_is_a_failure(url: str, workers: str, port: int) -> None:
    status, lines = end(SERVE, {"DATABASE_URL": url, "WEB_CONCURRENCY": workers, **listening(port)})

    assert status == 3
    assert [line for line in lines if "ddress already in use" in line]


@pytest.mark.parametrize("arguments", [["--port", "9000"], ["--check", "--reload"]], ids=["unknown", "two"])
def test_other_arguments_are_refused_with_a_sentence(arguments: list[str]) -> None:
    status, lines = end([*SERVE, *arguments], {})

    usage = (
        "Usage: python main.py [--reload | --check]. The environment sets the port and everything else; see README.md."
    )
    assert (status, lines) == (1, [usage])


@by_workers
def test_an_import_that_fails_is_a_failure(copy: Path, url: str, workers: str) -> None:
    with (copy / "store.py").open("a") as source:
        source.write('raise ImportError("It is not there.")')

    status, lines = end(SERVE, {"DATABASE_URL": url, "WEB_CONCURRENCY": workers}, copy)

    assert (status, lines[-1]) == (1, "ImportError: It is not there.")


@by_workers
def test_a_lifespan_that_fails_is_a_failure(copy: Path, url: str, workers: str) -> None:
    with (copy / "web/process.py").open("a") as source:
        source.write("\n\nend_with_parent = None\n")

    status, lines = end(SERVE, {"DATABASE_URL": url, "WEB_CONCURRENCY": workers}, copy)

    assert status == 3
    assert "TypeError: 'NoneType' object is not callable" in lines
    assert "ERROR:    Application startup failed. Exiting." in lines


def test_workers_stop_when_the_process_that_started_them_was_killed(url: str) -> None:
    with backend(url, procfile("web"), PATH=PATH, WEB_CONCURRENCY="2") as (process, api):
        process.wait_until(lambda: process.output().count("Application startup complete") == 2)
        family = psutil.Process(process.pid).children()

        os.kill(process.pid, signal.SIGKILL)
        _, left = psutil.wait_procs(family, timeout=30)

        assert left == []
        assert not answers(f"{api}/health")
        assert process.output().count("Application shutdown complete") == 2
