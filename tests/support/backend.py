"""The backend under a real uvicorn, as people run it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import Command, Process, serve
from tests.support.proxy import free_port
from tests.support.tokens import FRONTEND, SECRET

ROOT = Path(__file__).parents[2]
SERVE = [sys.executable, "main.py"]
UVICORN = [sys.executable, "-m", "uvicorn"]
# A Procfile finds this Python.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def procfile(process: str) -> list[str]:
    """The command of that process."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    commands = [line.removeprefix(f"{process}: ") for line in lines if line.startswith(f"{process}: ")]
    return ["bash", "-c", *commands]


def listening(port: int) -> dict[str, str]:
    """What has `main.py` and uvicorn listen there alone."""
    return {"UVICORN_HOST": "127.0.0.1", "UVICORN_PORT": str(port), "PORT": str(port)}


@contextmanager
def backend(
    database_url: str, command: Command = SERVE, *, folder: Path = ROOT, **environment: str
) -> Iterator[tuple[Process, str]]:
    """Give the process and its address. Variables of the environment may be added or overridden."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    variables = {
        "BETTER_AUTH_SECRET": SECRET,
        "BETTER_AUTH_URL": FRONTEND,
        "DATABASE_URL": database_url,
        **listening(port),
        **environment,
    }
    with serve(command, variables, f"{address}/health", cwd=folder) as process:
        yield process, address


def end(command: list[str], variables: dict[str, str], folder: Path = ROOT) -> tuple[int, list[str]]:
    """The exit status of a server that cannot start, and the lines that it wrote."""
    environment = {"PATH": PATH, "BETTER_AUTH_SECRET": SECRET, **listening(free_port()), **variables}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    return ended.returncode, (ended.stdout + ended.stderr).splitlines()
