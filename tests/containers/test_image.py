"""The image alone, as `docker build` makes it and `docker run` runs it."""

import pytest

from migrations import HEAD
from tests.containers.conftest import Image
from tests.containers.engine import LET_IN, Served, create, docker, tasks, until
from tests.support.tokens import SECRET

READ_ONLY = ("--read-only", "--tmpfs=/tmp")
# A check a second, so that an unhealthy container is one soon.
CHECKED = ("--health-interval=1s", "--health-start-period=1s", "--health-retries=2")
NOWHERE = "postgresql://todo:sesame@127.0.0.1:1/todo"
NOT_COMPILED = """
import sys, main, release
from pathlib import Path
from importlib.util import cache_from_source
loaded = [module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)]
files = {*loaded, *map(str, Path("/app").rglob("*.py")), *map(str, Path("/usr/local/lib").rglob("*.py"))}
print(sorted(file for file in files if file.endswith(".py") and not Path(cache_from_source(file)).exists()))
"""


def run(image: str, *command: str, **environment: str) -> tuple[int, str]:
    """The status and the output of a container that ends by itself."""
    variables = {"BETTER_AUTH_SECRET": SECRET, **environment}
    settings = [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
    ended = docker("run", "--rm", *settings, image, *command)
    return ended.returncode, ended.output.strip()


def test_the_build_warns_of_nothing(built: Image) -> None:
    assert "Successfully installed" in built.log
    assert [line for line in built.log.splitlines() if "warning" in line.lower()] == []


def test_the_app_may_write_to_its_data_alone(image: str) -> None:
    writable = "find / -xdev -writable -not -type l -not -path '/tmp*' -not -path '/var/tmp*' -not -path '/run/lock*'"

    assert run(image, "sh", "-c", f"{writable} 2>/dev/null; find /app -not -user root; id -u") == (0, "/data\n10001")
    assert run(image, "sh", "-c", "touch /data/todo.db; stat -c %U:%a /data /data/todo.db") == (0, "app:700\napp:644")


def test_source_packages_and_standard_library_are_compiled(image: str) -> None:
    """The app could not write the .pyc files."""
    assert run(image, "python", "-c", NOT_COMPILED) == (0, "[]")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_read_only_container_keeps_tasks_in_its_volume(image: str, volume: str, workers: str) -> None:
    for known in ([], ["Buy milk"]):
        with Served(image, *READ_ONLY, f"--volume={volume}:/data", WEB_CONCURRENCY=workers) as api:
            api.until_ready()
            assert tasks(api.url) == known
            assert create(api.url, "Buy milk") == 201
            assert api.stop() == 0


def test_it_stops_in_its_first_moments(image: str) -> None:
    """As the pages say to run it. Python may have no handler yet, and end by SIGTERM (143); 137 would be a kill."""
    with Served(image, "--init", "--stop-timeout=30") as api:
        assert api.stop() in (0, 143)


def test_it_is_healthy_when_its_database_answers(image: str) -> None:
    with Served(image, *CHECKED, *READ_ONLY) as api:
        until(lambda: api.health() != "starting")
        assert api.health() == "healthy"


def test_it_is_unhealthy_when_its_database_never_answered(image: str) -> None:
    with Served(image, *CHECKED, DATABASE_URL=NOWHERE) as api:
        until(lambda: api.health() != "starting")
        assert api.health() == "unhealthy"
        assert "cannot be reached" in api.state()["Health"]["Log"][-1]["Output"]
        assert "sesame" not in api.log()


def test_health_is_asked_at_the_port_that_is_set(image: str) -> None:
    with Served(image, *CHECKED, PORT="9000") as api:
        until(lambda: api.health() != "starting")
        assert api.health() == "healthy"


def test_a_bad_setting_is_one_sentence(image: str) -> None:
    sentence = "Cannot start: WEB_CONCURRENCY is 'abc'; it must be a whole number."

    assert run(image, WEB_CONCURRENCY="abc") == (1, sentence)


def test_empty_settings_count_as_unset(image: str) -> None:
    names = ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "PORT", "UVICORN_HOST", "LOG_LEVEL", "JWKS_URL")
    with Served(image, **dict.fromkeys(names, "")) as api:
        api.until_ready()
        assert tasks(api.url) == []


def test_it_brings_tables_up_to_date_without_serving(image: str) -> None:
    count = "import sqlite3; print(sqlite3.connect('/data/todo.db').execute('SELECT count(*) FROM tasks').fetchone())"

    status, output = run(image, "sh", "-c", f'python -m release && python -c "{count}"')

    assert (status, output) == (0, f"(0,)\nThe tables are of version {HEAD}.")


def test_the_image_holds_what_the_app_needs_alone(image: str) -> None:
    """No .env, database, test or page."""
    status, listed = run(image, "sh", "-c", "ls -A /app")

    files = {name for name in listed.split() if not name.endswith(".py")}
    assert (status, files) == (0, {"__pycache__", *LET_IN} - {"*.py"})
