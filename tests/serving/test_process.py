"""The process that serves: the app that it makes, what it has uvicorn do, and how it ends."""

import asyncio
import importlib
import multiprocessing
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.testclient import TestClient

import app
from tests.support.proxy import HOST, free_port
from tests.support.tokens import SECRET, bearer, token_of
from tests.support.waiting import until
from web.process import end_with_parent

ADA = bearer(token_of("ada"))
# Whatever the host, port, workers and proxies.
SERVED = {
    "http": "web.http1:BoundedHttp",
    "ws": "none",
    "access_log": False,
    "server_header": False,
    "timeout_graceful_shutdown": 20,
    "timeout_worker_healthcheck": 30,
    "log_level": "info",
}
# Host, port and proxies.
DEFAULTS = ("0.0.0.0", 8000, "127.0.0.1,::1")  # noqa: S104
CHOSEN = {"UVICORN_HOST": HOST, "PORT": "8001", "WEB_CONCURRENCY": "1", "LOG_LEVEL": "INFO"}
CHOSEN |= {"FORWARDED_ALLOW_IPS": "10.0.0.0/8"}


@pytest.fixture
def terminate() -> Iterator[None]:
    """Put back what SIGTERM does."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment, and no app made yet; afterwards the app is removed again."""
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/todo.db")
    vars(app).pop("app", None)
    yield
    vars(app).pop("app", None)


@pytest.fixture
def main(fresh: None, terminate: None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:  # noqa: ARG001 - before it
    """The module, which makes the app."""
    monkeypatch.delitem(sys.modules, "main", raising=False)
    return importlib.import_module("main")


def test_the_app_is_made_from_the_environment_once(main: ModuleType) -> None:
    with TestClient(main.app, headers=ADA) as client:
        assert client.get("/api/tasks").json() == []


@pytest.mark.usefixtures("fresh", "terminate")
def test_a_lone_server_ends_with_0() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _ = app.app

    with pytest.raises(SystemExit, match=r"^0$"):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.usefixtures("fresh", "terminate")
def test_an_installed_sigterm_handler_is_kept() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _ = app.app

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


@pytest.mark.usefixtures("fresh", "terminate")
def test_a_server_in_a_thread_leaves_signals_to_the_main_one() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(lambda: app.app).result()

    assert made is app.app
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_other_attributes_of_the_module_are_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'application'"):
        _ = app.application


@pytest.mark.parametrize(
    ("variables", "listens"),
    [({}, DEFAULTS), (dict.fromkeys(CHOSEN, ""), DEFAULTS), (CHOSEN, (HOST, 8001, "10.0.0.0/8"))],
    ids=["defaults", "empty", "set"],
)
def test_one_worker_is_served_in_this_process(
    main: ModuleType, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], listens: tuple[str, int, str]
) -> None:
    """And uvicorn reads nothing from the environment itself."""
    calls: list[Any] = []
    monkeypatch.setattr(uvicorn, "run", lambda *target, **options: calls.append((target, options)))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    main.serve()

    host, port, proxies = listens
    given = {"host": host, "port": port, "forwarded_allow_ips": proxies, "workers": 1}
    assert calls == [(("main:app",), {**SERVED, **given})]


def test_uvicorns_own_form_of_the_log_is_for_text(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(uvicorn, "run", lambda *_, **options: calls.append(options))
    monkeypatch.setenv("LOG_FORMAT", "json")

    main.serve()

    assert calls == [{**SERVED, "host": "0.0.0.0", "port": 8000, "log_config": None}]  # noqa: S104


def test_the_metrics_are_served_while_the_server_runs(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    address = f"http://{HOST}:{port}/metrics"
    answers: list[str] = []
    monkeypatch.setattr(uvicorn, "run", lambda *_, **__: answers.append(httpx2.get(address).text))
    for name, value in {"UVICORN_HOST": HOST, "METRICS_PORT": str(port)}.items():
        monkeypatch.setenv(name, value)

    main.serve()

    assert "todo_workers 0.0\n" in answers[0]
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(address)


def test_folders_outside_the_app_are_excluded_from_reloading(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(uvicorn, "run", lambda *target, **options: calls.append((target, options)))
    monkeypatch.setenv("WEB_CONCURRENCY", "4")

    main.serve(reload=True)

    ((target, options),) = calls
    assert (target, options["reload"], options["workers"]) == (("main:app",), True, 1)
    assert {Path(folder).name for folder in options["reload_excludes"]} >= {".venv", "tests", "examples"}
    assert all(Path(folder).is_absolute() for folder in options["reload_excludes"])


class Supervisor:
    """In the place of uvicorn's: its workers have ended in this way."""

    exit_codes: tuple[int | None, ...]

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        assert (config.app, config.workers) == ("main:app", 2)
        assert vars(config).items() >= SERVED.items()
        self.sockets = sockets
        self.processes = [SimpleNamespace(exitcode=code) for code in self.exit_codes]

    def run(self) -> None:
        for each in self.sockets:
            each.close()


@pytest.mark.parametrize(
    ("exit_codes", "status"),
    [((0, 0), None), ((-15, -9), None), ((3, 0), 3), ((0, 3), 3)],
    ids=["stopped", "killed", "first-failed", "last-failed"],
)
def test_several_workers_end_as_their_start_did(
    main: ModuleType, monkeypatch: pytest.MonkeyPatch, exit_codes: tuple[int, ...], status: int | None
) -> None:
    monkeypatch.setattr(main, "Multiprocess", type("Ended", (Supervisor,), {"exit_codes": exit_codes}))
    for name, value in {"UVICORN_HOST": HOST, "PORT": str(free_port()), "WEB_CONCURRENCY": "2"}.items():
        monkeypatch.setenv(name, value)

    if status is None:
        main.serve()
    else:
        with pytest.raises(SystemExit, match=rf"^{status}$"):
            main.serve()


def test_a_process_that_multiprocessing_did_not_start_watches_no_parent() -> None:
    before = threading.active_count()

    end_with_parent()

    assert threading.active_count() == before


@pytest.mark.usefixtures("terminate")
def test_a_worker_is_asked_to_stop_when_its_parent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, gone = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(join=gone.wait))

    end_with_parent()

    assert not asked.is_set()
    gone.set()
    # A signal that comes just before a lock is waited for interrupts no wait.
    asyncio.run(until(asked.is_set))
