"""What a process does with its environment before it serves anything."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import app
from tests.support.sentences import GUESSABLE, NOT_SET, UNREADABLE, refused_by_client
from tests.support.tokens import SECRET
from web.log import configure_logging

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("level", ["WARNING", "DEBUG"])
def test_log_lines_go_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], level: str
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)

    configure_logging(level, "text")
    logging.getLogger("todo").debug("for your information")
    logging.getLogger("todo").warning("beware")

    lines = [line.partition(" ")[2].partition(" ")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["DEBUG todo for your information"] * (level == "DEBUG") + ["WARNING todo beware"]


def test_the_app_is_made_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing the module needs no environment."""
    monkeypatch.setattr(os, "environ", {})

    with pytest.raises(SystemExit) as end:
        _ = app.app

    assert str(end.value) == f"Cannot start: {NOT_SET}"


BAD_STARTS = {
    "no-secret": ({"BETTER_AUTH_SECRET": ""}, NOT_SET),
    "placeholder": ({"BETTER_AUTH_SECRET": "change-me-" * 4}, GUESSABLE),
    "workers": ({"WEB_CONCURRENCY": "abc"}, "WEB_CONCURRENCY is 'abc'; it must be a whole number."),
    "unreadable-url": ({"DATABASE_URL": "postgresql://ada:sesame@h:x/db"}, UNREADABLE),
    "bad-option": (
        {"DATABASE_URL": "postgresql://ada:sesame@h/db?sslmod=require"},
        refused_by_client('invalid dsn: invalid connection option "sslmod"'),
    ),
}


def python(statement: str, **variables: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a process with nothing else in its environment."""
    command = [sys.executable, "-c", statement]
    end = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60)
    return end.returncode, end.stdout, end.stderr


@pytest.mark.parametrize(("variables", "sentence"), BAD_STARTS.values(), ids=BAD_STARTS)
def test_a_start_that_cannot_be_ends_with_one_sentence(variables: dict[str, str], sentence: str) -> None:
    ended = python("import main", **{"BETTER_AUTH_SECRET": SECRET, **variables})

    assert ended == (1, "", f"Cannot start: {sentence}\n")


def test_the_app_module_can_be_imported_without_any_environment() -> None:
    """And leaves it to the process how it ends."""
    statement = "import app, signal; print(app.create_app.__name__, signal.getsignal(signal.SIGTERM).name)"

    assert python(statement) == (0, "create_app SIG_DFL\n", "")


def test_a_good_environment_gives_the_app_once(tmp_path: Path) -> None:
    variables: dict[str, Any] = {"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": f"sqlite:///{tmp_path}/todo.db"}

    assert python("import main, app; print(main.app is app.app)", **variables) == (0, "True\n", "")
