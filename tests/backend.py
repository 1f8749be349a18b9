"""The backend under a real uvicorn, as people run it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import Process, serve
from tests.proxy import free_port
from tests.tokens import FRONTEND, SECRET

ROOT = Path(__file__).parent.parent
# As in the Procfile.
HTTP = ["--no-access-log", "--no-server-header", "--http", "http1:BoundedHttp", "--ws", "none"]
UVICORN = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", *HTTP]


@contextmanager
def backend(
    database_url: str, *arguments: str, target: str = "main:app", folder: Path = ROOT, **environment: str
) -> Iterator[tuple[Process, str]]:
    """Give the process and its address. Variables of the environment may be added or overridden."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    variables = {
        "BETTER_AUTH_SECRET": SECRET,
        "BETTER_AUTH_URL": FRONTEND,
        "DATABASE_URL": database_url,
        **environment,
    }
    command = [*UVICORN, "--port", str(port), *arguments, target]
    with serve(command, variables, f"{address}/health", cwd=folder) as process:
        yield process, address
