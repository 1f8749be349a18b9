"""The example frontend, built once for each state of its sources, and the API beside it."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser.npm import alone_in, install
from tests.support.backend import ROOT, SERVE, listening
from tests.support.processes import Command, Process, answers, serve
from tests.support.proxy import free_port
from tests.support.tokens import SECRET

FOLDER = ROOT / "examples" / "nextjs"
# What npm and Next.js make, and what a developer keeps there.
MADE = ("node_modules", ".next", "next-env.d.ts", "*.tsbuildinfo", ".env*", "*.db*")


def sources() -> Iterator[Path]:
    for path in sorted(FOLDER.rglob("*")):
        parts = path.relative_to(FOLDER).parts
        if path.is_file() and not any(Path(part).match(pattern) for part in parts for pattern in MADE):
            yield path


def npm_run(script: str) -> None:
    """One of the example's own scripts; call it with `alone_in(FOLDER)`."""
    done = subprocess.run(["npm", "run", script], cwd=FOLDER, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def build() -> None:
    """What `npm run build` does, unless it has been done for exactly these sources."""
    install(FOLDER)
    stamp = FOLDER / ".next" / "sources"
    with alone_in(FOLDER):
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources())).hexdigest()
        if not stamp.exists() or stamp.read_text() != digest:
            npm_run("build")
            stamp.write_text(digest)


@contextmanager
def frontend(address: str, api: str, **environment: str) -> Iterator[Process]:
    """Serve it at this address of this machine."""
    build()
    variables = {
        "NODE_ENV": "production",
        "NEXT_TELEMETRY_DISABLED": "1",
        "BETTER_AUTH_SECRET": SECRET,
        "BETTER_AUTH_URL": address,
        "API_URL": api,
        # Everybody signs up from one address here.
        "AUTH_RATE_LIMIT": "off",
        **environment,
    }
    command = ["node_modules/.bin/next", "start", "--hostname", "127.0.0.1", "--port", address.rpartition(":")[2]]
    with serve(command, variables, f"{address}/sign-in", cwd=FOLDER) as process:
        yield process


# The whole backend, but for the queries of tasks.
DEFECTIVE = """
import main, store
from queries import changes
async def fail(*_):
    raise RuntimeError("a defect")
for name in ("list_tasks", "create_task", "get_task", "update_task", "toggle_task", "delete_task"):
    setattr(store, name, fail)
changes.list_changes = fail
main.serve()
"""


class Api:
    """The backend at one address, across stops and starts."""

    def __init__(self, database_url: str, frontend: str) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._environment = {
            "BETTER_AUTH_SECRET": SECRET,
            "BETTER_AUTH_URL": frontend,
            "DATABASE_URL": database_url,
            **listening(self.port),
        }
        self._processes: list[Process] = []

    def start(self, command: Command = SERVE) -> None:
        process = Process(command, self._environment, cwd=ROOT)
        self._processes.append(process)
        process.wait_until(lambda: answers(f"{self.address}/health"))

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()

    def requests(self) -> list[str]:
        """All that it has answered since the first start, as its log has it: "GET /api/tasks 200"."""
        lines = "".join(process.output() for process in self._processes).splitlines()
        return [" ".join(line.split()[4:7]) for line in lines if " todo.access " in line]

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Have it take connections and answer nothing, until `thaw`."""
        os.kill(self._processes[-1].pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._processes[-1].pid, signal.SIGCONT)

    def break_down(self) -> None:
        """Have it answer a 500 to whatever concerns tasks, until it is started again."""
        self.stop()
        self.start([sys.executable, "-c", DEFECTIVE])

    def __enter__(self) -> "Api":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
