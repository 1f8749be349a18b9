"""The Dockerfile and compose's files, read as text. tests/containers builds and runs them, where there is an engine."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from tests.support.backend import ROOT, SERVE
from tests.support.tokens import SECRET

# Instructions, each on one line, in order.
DOCKERFILE = [
    tuple(line.split(" ", 1))
    for line in re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()
    if line and line[0] != "#"
]
COMPOSE, OVERRIDE = (
    yaml.safe_load((ROOT / name).read_text()) for name in ("docker-compose.yml", "docker-compose.override.yml")
)
API = COMPOSE["services"]["api"]
APP = "10001"


def sources() -> list[Path]:
    """What the Dockerfile copies, by its path in the repository."""
    copied = [Path(value.split(" ")[0]) for value in all_of("COPY") if not value.startswith("requirements")]
    patterns = [str(path) if path.suffix else f"{path}/**/*" for path in copied]
    files = [file for pattern in patterns for file in sorted(ROOT.glob(pattern)) if file.is_file()]
    return [file.relative_to(ROOT) for file in files if file.parent.name != "__pycache__"]


def all_of(name: str) -> list[str]:
    return [value for instruction, value in DOCKERFILE if instruction == name]


def test_the_source_in_the_image_belongs_to_root() -> None:
    """Nothing is copied for, or handed over to, the app's user, who comes last."""
    assert all_of("WORKDIR") == ["/app"]
    assert [line for line in all_of("COPY") if "--chown" in line or "--chmod" in line] == []
    assert [line for line in all_of("RUN") if re.search(r"ch(own|mod|grp)\b", line)] == []
    assert all_of("USER") == [APP]
    assert [name for name, _ in DOCKERFILE if name in ("ADD", "COPY", "RUN", "USER")][-3:] == ["COPY", "RUN", "USER"]
    assert all_of("RUN")[-1] == "python -m compileall -q /app"


def test_the_image_has_all_that_the_app_imports(tmp_path: Path) -> None:
    """And .dockerignore lets every copied file in."""
    for source in sources():
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, tmp_path / source)
    let_in = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}

    ended = subprocess.run(
        [sys.executable, "-c", "import main, release; print(main.app.routes[0].path)"],
        cwd=tmp_path,
        env={"BETTER_AUTH_SECRET": SECRET},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "/api\n", "")
    assert let_in == {value.split(" ")[0] for value in all_of("COPY")}


def test_sqlites_file_is_in_a_volume_that_the_apps_user_owns() -> None:
    assert "DATABASE_URL=sqlite:////data/todo.db" in all_of("ENV")[0].split()
    assert all_of("VOLUME") == ["/data"]
    assert all_of("RUN")[0].split(" && ") == [
        f"useradd --no-create-home --uid {APP} app",
        "install --directory --owner=app --group=app --mode=700 /data",
    ]
    assert API["volumes"] == ["api-data:/data"]
    assert (COMPOSE["volumes"].keys(), OVERRIDE["volumes"].keys()) == ({"api-data"}, {"db-data"})


def test_every_platform_has_the_same_python() -> None:
    """Heroku, pyenv and uv read `.python-version`."""
    assert (ROOT / ".python-version").read_text() == "3.13\n"
    assert all_of("ARG") == ["PYTHON_IMAGE=python:3.13-slim-trixie"]


def test_bases_are_pinned_and_can_be_replaced() -> None:
    assert DOCKERFILE[:2] == [("ARG", "PYTHON_IMAGE=python:3.13-slim-trixie"), ("FROM", "${PYTHON_IMAGE}")]
    assert API["build"]["args"] == ["PYTHON_IMAGE"]
    assert OVERRIDE["services"]["db"]["image"] == "${POSTGRES_IMAGE:-postgres:17-trixie}"


def test_compose_hands_on_every_setting_of_the_example() -> None:
    """And what .env leaves empty is empty, or a default."""
    example = set(re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))
    environment = API["environment"]

    assert example - {"POSTGRES_PASSWORD", "COMPOSE_FILE", "UVICORN_HOST"} == environment.keys()
    assert {name for name, value in environment.items() if not value.startswith(f"${{{name}:")} == {"PORT"}


def test_no_password_is_part_of_a_url() -> None:
    api, db = (OVERRIDE["services"][name]["environment"] for name in ("api", "db"))

    assert api == {
        "DATABASE_URL": "${DATABASE_URL:-postgresql://todo@db:5432/todo}",
        "PGPASSWORD": "${POSTGRES_PASSWORD:-}",
    }
    assert db["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def test_compose_waits_for_the_database_and_hears_every_signal() -> None:
    assert OVERRIDE["services"]["api"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert API["healthcheck"]["start_interval"] == "1s"
    assert (API["init"], API["stop_grace_period"]) == (True, "30s")
    (check,) = all_of("HEALTHCHECK")
    assert "/ready" in check


def test_the_image_serves_as_the_tests_do() -> None:
    assert [json.loads(command) for command in all_of("CMD")] == [["python", *SERVE[1:]]]


def test_containers_without_an_engine_are_one_sentence() -> None:
    ended = subprocess.run(
        ["bash", "scripts/test", "--docker"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nowhere/docker.sock"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    sentence = "No Docker Engine answers. Start one, or name its socket in DOCKER_HOST.\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", sentence)
