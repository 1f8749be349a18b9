"""The engine that DOCKER_HOST or docker's context names, and what the tests do with it. It is on this machine."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx2
import yaml  # type: ignore[import-untyped]

from tests.support.backend import ROOT
from tests.support.proxy import HOST, free_port
from tests.support.tokens import SECRET, bearer, token_of

ADA = bearer(token_of("ada"))
# How a client finds its engine; nothing else of a developer's environment reaches a test.
CLIENT = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME") or name.startswith("DOCKER_")}
# Stand-ins for the base images, where no registry can be reached (scripts/stand_in_images).
STAND_INS = {name: os.getenv(f"TEST_{name}", "") for name in ("PYTHON_IMAGE", "POSTGRES_IMAGE")}
# What `docker build` and `docker compose` read; the rest is kept out by .dockerignore.
LET_IN = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
PROJECT = (*LET_IN, "Dockerfile", ".dockerignore", "docker-compose*.yml")


class Ended(subprocess.CompletedProcess[str]):
    """A command that has ended; `output` is all that it wrote."""

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def docker(*arguments: str, folder: Path = ROOT, environment: Mapping[str, str] = CLIENT) -> Ended:
    """Run the client, whatever its status."""
    command = ["docker", *arguments]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    return Ended(ended.args, ended.returncode, ended.stdout, ended.stderr)


def done(ended: Ended) -> str:
    """What a command printed that has to succeed."""
    assert ended.returncode == 0, ended.output
    return ended.stdout.strip()


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Container:
    """A container by its name or id."""

    def __init__(self, name: str) -> None:
        self.name = name

    def state(self) -> dict[str, Any]:
        """As in `docker inspect`, with `Status`, `ExitCode` and `Health`."""
        state: dict[str, Any] = yaml.safe_load(done(docker("inspect", "--format", "{{json .State}}", self.name)))
        return state

    def health(self) -> str:
        return str(self.state()["Health"]["Status"])

    def stop(self) -> int:
        """Ask it to stop, and wait. Its exit status; 137 when the engine had to kill it."""
        done(docker("stop", self.name))
        return int(self.state()["ExitCode"])

    def log(self) -> str:
        return docker("logs", self.name).output


class Served(Container):
    """`docker run` of the image in the background, at `url`; removed in the end."""

    def __init__(self, image: str, *options: str, **environment: str) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        variables = {"BETTER_AUTH_SECRET": SECRET, **environment}
        settings = [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
        super().__init__(done(docker("run", "--detach", f"--publish={HOST}:{port}:8000", *settings, *options, image)))

    def until_ready(self) -> None:
        until(lambda: answers(self.url))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        docker("rm", "--force", "--volumes", self.name)


class Project:
    """`docker compose` in a folder with a copy of the project, and an .env; removed in the end with all it made."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder, self.name = folder, f"todo-test-{folder.parent.name.split('-')[-1]}-{free_port()}"
        for path in (path for pattern in PROJECT for path in ROOT.glob(pattern)):
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, folder / path.name)
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        self.variables = {"BETTER_AUTH_SECRET": SECRET, "PORT": f"{HOST}:{port}", **variables}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Whatever was left out of .env or of the files that are read.
        self.variables |= {"COMPOSE_FILE": "", "BETTER_AUTH_SECRET": SECRET, "POSTGRES_PASSWORD": "any"}
        done(self.compose("down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "5"))

    def compose(self, *arguments: str) -> Ended:
        """Run `docker compose`, whatever its status, with the variables in .env as a person writes them."""
        # In quotes compose expands nothing.
        lines = [f"{name}='{value}'" for name, value in self.variables.items() if value]
        (self.folder / ".env").write_text("\n".join(lines))
        environment = {**CLIENT, **STAND_INS, "COMPOSE_PROJECT_NAME": self.name}
        # A stand-in that is empty is none.
        environment = {name: value for name, value in environment.items() if value}
        return docker("compose", *arguments, folder=self.folder, environment=environment)

    def up(self, *options: str) -> str:
        """Start it all, and wait until it is healthy."""
        return done(self.compose("up", "--build", "--wait", *options))

    def add(self, **services: dict[str, Any]) -> None:
        """Read a file with these services after those that compose reads by itself."""
        (self.folder / "added.yml").write_text(yaml.safe_dump({"services": services}))
        self.variables["COMPOSE_FILE"] = "docker-compose.yml:docker-compose.override.yml:added.yml"

    def container(self, service: str) -> Container:
        return Container(f"{self.name}-{service}-1")

    @contextmanager
    def database(self, name: str, password: str) -> Iterator[None]:
        """A PostgreSQL that compose knows nothing of, at the host of that name in the project's network."""
        network = ("--network", f"{self.name}_default", "--network-alias", name)
        variables = [f"--env=POSTGRES_{key}={value}" for key, value in (("USER", "todo"), ("PASSWORD", password))]
        image = STAND_INS["POSTGRES_IMAGE"] or "postgres:17-trixie"
        started = done(docker("run", "--detach", *network, *variables, "--env=POSTGRES_DB=todo", image))
        try:
            yield
        finally:
            done(docker("rm", "--force", "--volumes", started))

    def sql(self, statements: str) -> str:
        """Run them in PostgreSQL; what the last one gives."""
        command = (
            "psql",
            "--username=todo",
            "--quiet",
            "--tuples-only",
            "--no-align",
            f"--command={statements}",
            "todo",
        )
        return done(self.compose("exec", "db", *command))

    def services(self) -> set[str]:
        """Those that have a container."""
        return set(done(self.compose("ps", "--all", "--services")).split())


def tasks(url: str) -> list[str]:
    """The titles of Ada's."""
    return [task["title"] for task in httpx2.get(f"{url}/api/tasks", headers=ADA).raise_for_status().json()]


def create(url: str, title: str) -> int:
    return httpx2.post(f"{url}/api/tasks", headers=ADA, json={"title": title}).status_code


def answers(url: str) -> bool:
    """Whether the API answers, and its database does."""
    try:
        return httpx2.get(f"{url}/ready").status_code == 200
    except httpx2.TransportError:
        return False
