"""`scripts/import FILE`: what it prints, and what it says when something is wrong."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.backend import PATH, ROOT, backend
from tests.support.proxy import free_port
from tests.support.tokens import bearer, token_of

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        # In the folder of the file, whose name is relative.
        command = [sys.executable, str(ROOT / "scripts/import_file.py"), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
def api(tmp_path: Path) -> Iterator[dict[str, str]]:
    with backend(f"sqlite:///{tmp_path}/todo.db", LOG_LEVEL="ERROR") as (_, address):
        yield {"TODO_URL": f"{address}/", "TODO_TOKEN": token_of("ada")}


def test_a_file_is_imported_and_its_progress_shown(script: Script, api: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text('{"title": "Write", "more": "' + "x" * 2000 + '"}\n')
    (tmp_path / "tasks.jsonl").write_text((tmp_path / "tasks.jsonl").read_text() * 1000)
    (tmp_path / "tasks.CSV").write_text("title\nWrite\n")

    large, small = script("tasks.jsonl", **api), script("tasks.CSV", **api)

    assert (large.returncode, large.stdout, small.stdout) == (0, '{"count":1000}\n', '{"count":1}\n')
    *progress, last = large.stderr.splitlines()
    assert last == "All of it is sent; the API is storing it."
    assert len(progress) == 11
    assert progress[-1] == "Sent 100 % of 1.9 MiB."


def test_a_file_is_imported_once(script: Script, api: dict[str, str], tmp_path: Path) -> None:
    """Unless it is asked for, or has changed."""
    (tmp_path / "tasks.jsonl").write_text('{"title": "Write"}\n')
    ends = [script("tasks.jsonl", *more, **api) for more in ((), (), ("--again",))]
    (tmp_path / "tasks.jsonl").write_text('{"title": "Write more"}\n')
    ends.append(script("tasks.jsonl", **api))

    assert [end.stdout for end in ends] == ['{"count":1}\n'] * 4
    told = "This file was imported before, so nothing was added now; --again adds its tasks once more."
    assert [told in end.stderr for end in ends] == [False, True, False, False]
    answer = httpx2.get(f"{api['TODO_URL']}api/tasks", headers=bearer(api["TODO_TOKEN"]))
    assert [task["title"] for task in answer.json()] == ["Write more", "Write", "Write"]


def test_who_breaks_it_off_is_told_what_to_do(api: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (tmp_path / "tasks.jsonl").write_text('{"title": "Write"}\n')
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, str(ROOT / "scripts/import_file.py"), "tasks.jsonl", "--url", url]
        process = subprocess.Popen(command, cwd=tmp_path, env=api, stderr=subprocess.PIPE, text=True)
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)
            process.send_signal(signal.SIGINT)
            told = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 1
    assert told[-1].startswith("Broken off. The API may still import the file; to be sure run this again")


def test_bad_lines_are_told(script: Script, api: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text('{"title": ""}\n{}\n')

    answer = script("tasks.jsonl", **api)

    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.splitlines()[-3:] == [
        "Nothing was imported (400): 2 lines are not valid, and nothing was imported. Line 1: title must not be blank.",
        "  line 1: title must not be blank",
        "  line 2: title is required",
    ]


def test_what_else_can_go_wrong_is_a_sentence(script: Script, api: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text('{"title": "Write"}\n')
    nobody = f"http://127.0.0.1:{free_port()}"
    ends = [
        script("nothing.jsonl", **api),
        script("tasks.jsonl", "--url", nobody, "--token", "x"),
        script("tasks.jsonl", "--token", "x", **api),
        script("tasks.jsonl"),
        script("tasks.jsonl", "--url", "localhost", **api),
        script("tasks.jsonl", "--url", "http://[::1", **api),
        script("tasks.jsonl", "--url", "http://localhost:abc", **api),
        script("tasks.jsonl", "--token", "secr€t", **api),
        script("tasks.jsonl", "--token", "secr\net", **api),
        script("tasks.jsonl", "--url", f"{api['TODO_URL']}nowhere", "--token", api["TODO_TOKEN"]),
        script("/dev/null", **api),
    ]

    assert {end.returncode for end in ends} == {1}
    said = [end.stderr.splitlines()[-1] for end in ends]
    assert said[0] == "nothing.jsonl cannot be read: No such file or directory."
    assert said[1].startswith(f"There was no answer from {nobody}: ")
    assert said[2] == (
        "Nothing was imported (401): The token is not a JSON Web Token; send the one from /api/auth/token. "
        "Give a token with --token or in TODO_TOKEN; for local use scripts/token makes one."
    )
    assert said[3].startswith("There is no token; ")
    assert said[4] == "localhost is no URL of an API; write it as https://api.example.com."
    assert said[5] == "http://[::1 is no URL of an API; write it as https://api.example.com."
    assert said[6] == "http://localhost:abc is no URL of an API; write it as https://api.example.com."
    assert said[7] == said[8] == "The token has characters that no token has; copy it again."
    assert said[9].startswith("Nothing was imported (404): ")
    assert said[10] == "/dev/null is not a regular file; write what it gives to a file first."


@pytest.mark.database("any")
def test_the_command_says_how_it_is_used(tmp_path: Path) -> None:
    """In any folder: a shim of pyenv is another Python outside of the repository."""
    environment = {"PATH": PATH, "HOME": os.environ.get("HOME", "/")}
    command = [str(ROOT / "scripts/import"), "--help"]
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert told.returncode == 0
    assert told.stdout.startswith("usage: scripts/import [-h] [--url URL] [--again] [--token TOKEN] FILE")
