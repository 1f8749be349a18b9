"""How the app starts and stops, as real processes."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

import release
from app import create_app
from migrations import HEAD, VERSION_TABLE
from settings import Settings
from tests.conftest import Rows, RowsOf, database_name
from tests.support.backend import ROOT, backend
from tests.support.processes import Process
from tests.support.proxy import Proxy, free_port
from tests.support.tokens import SECRET, bearer, token_of
from tests.support.waiting import until

ADA = bearer(token_of("ada"))


def environment(**variables: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **variables}


def test_the_release_creates_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_of: RowsOf) -> None:
    url = f"sqlite:///{tmp_path}/todo.db"
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", url)

    release.main()

    assert rows_of(url, "SELECT count(*) FROM tasks") == [(0,)]


def test_a_release_without_its_database_is_an_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://127.0.0.1:{free_port()}/todo")

    with pytest.raises(SystemExit, match=r"^Cannot prepare the database: .*Connection refused"):
        release.main()


def test_tables_are_there_with_and_without_the_lifespan(settings: Settings, rows: Rows) -> None:
    """A `TestClient` that is not used as a context manager never runs the lifespan."""
    assert TestClient(create_app(settings), headers=ADA).get("/api/tasks").json() == []
    rows("DELETE FROM users")
    with TestClient(create_app(settings), headers=ADA) as client:
        assert client.get("/api/tasks").json() == []


def test_tables_are_created_at_start(settings: Settings, rows: Rows) -> None:
    with TestClient(create_app(settings)):
        assert rows("SELECT count(*) FROM tasks") == [(0,)]


def test_it_starts_without_its_database_and_uses_it_when_it_comes(
    postgres_url: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.refuse()
    settings = Settings(secret=SECRET, database_url=proxy.url(database_name(postgres_url)))
    with TestClient(create_app(settings), headers=ADA) as client:
        assert "Started without the database" in caplog.text
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503
        proxy.accept()
        assert client.get("/ready").status_code == 200
        assert client.get("/api/tasks").json() == []


def test_several_workers_start_at_once_on_an_empty_database(database_url: str) -> None:
    """Four workers, and the first calls of one person arrive at all of them at once."""

    async def first_calls(api: str) -> list[httpx2.Response]:
        async with httpx2.AsyncClient(headers=ADA, timeout=30) as client:
            return await asyncio.gather(*(client.get(f"{api}/api/tasks") for _ in range(50)))

    with backend(database_url, WEB_CONCURRENCY="4") as (process, api):
        answers = asyncio.run(first_calls(api))
        process.wait_until(lambda: process.output().count("Application startup complete") == 4)
        log = process.output()

    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, [])] * 50
    assert "Traceback" not in log
    assert "Started without the database" not in log


def has_started(process: Process) -> bool:
    return process.output().count("Application startup complete") == 4


def test_many_processes_create_the_tables_at_once(database_url: str, rows: Rows) -> None:
    command = [sys.executable, "-m", "release"]
    variables = environment(BETTER_AUTH_SECRET=SECRET, DATABASE_URL=database_url)
    processes = [subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.PIPE) for _ in range(5)]
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]

    assert ends == [(f"The tables are of version {HEAD}.\n".encode(), 0)] * 5
    assert rows("SELECT count(*) FROM tasks") == [(0,)]


def test_many_workers_bring_older_tables_up_to_date_once(postgres_url: str, rows_of: RowsOf) -> None:
    """Four workers on each of three hosts start at once."""
    rows = partial(rows_of, postgres_url)
    first = [str(Path(sys.executable).with_name("alembic")), "upgrade", "1"]
    variables = environment(BETTER_AUTH_SECRET=SECRET, DATABASE_URL=postgres_url)
    subprocess.run(first, cwd=ROOT, env=variables, check=True)
    rows("INSERT INTO users (id) VALUES ('ada')")
    moment = "'2026-01-02 03:04:05.678901'"
    rows(f"INSERT INTO tasks (user_id, title, created_at, updated_at) VALUES ('ada', 'Old', {moment}, {moment})")
    rows(f"DROP TABLE {VERSION_TABLE}")

    with ExitStack() as hosts:
        started = [hosts.enter_context(backend(postgres_url, WEB_CONCURRENCY="4")) for _ in range(3)]
        for process, _ in started:
            process.wait_until(partial(has_started, process))
        answers = [httpx2.get(f"{api}/api/tasks", headers=ADA, timeout=30) for _, api in started]
        log = "".join(process.output() for process, _ in started)

    assert [[task["title"] for task in answer.json()] for answer in answers] == [["Old"]] * 3
    assert log.count("Running upgrade 1 -> 2") == 1
    assert "Traceback" not in log
    assert rows(f"SELECT version_num FROM {VERSION_TABLE}") == [(HEAD,)]


def test_a_release_without_its_database_fails_with_a_sentence() -> None:
    url = f"postgresql://ada:sesame@127.0.0.1:{free_port()}/todo"
    variables = environment(BETTER_AUTH_SECRET=SECRET, DATABASE_URL=url)
    end = subprocess.run([sys.executable, "-m", "release"], cwd=ROOT, env=variables, capture_output=True, text=True)

    assert end.returncode == 1
    assert end.stderr.startswith("Cannot prepare the database: ")
    assert "Connection refused" in end.stderr
    assert "sesame" not in end.stderr


def test_a_stop_lets_requests_in_flight_finish(postgres_url: str, proxy: Proxy, rows_of: RowsOf) -> None:
    """SIGTERM arrives while creates are on their way to a slow database; each of them is answered and kept."""

    async def create(api: str, stop: int) -> list[httpx2.Response]:
        async with httpx2.AsyncClient(headers=ADA, timeout=30) as client:
            await client.get(f"{api}/api/tasks")
            proxy.delay = 1.0
            proxy.reset()
            posts = [
                asyncio.create_task(client.post(f"{api}/api/tasks", json={"title": f"Task {n}"})) for n in range(4)
            ]
            # One is at the database, and the others wait there for their connections.
            await until(lambda: proxy.round_trips >= 4)
            os.kill(stop, signal.SIGTERM)
            return await asyncio.gather(*posts)

    with backend(proxy.url(database_name(postgres_url))) as (process, api):
        answers = asyncio.run(create(api, process.pid))
        assert process.terminate() == 0
        assert "Application shutdown complete" in process.output()

    assert [answer.status_code for answer in answers] == [201] * 4
    assert rows_of(postgres_url, "SELECT count(*) FROM tasks") == [(4,)]
