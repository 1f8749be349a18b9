"""What the modes have in common: PostgreSQL, a database for each contestant with the same rows, and the servers."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.contestants import ROOT, Contestant, Server, environment, running
from bench.load import write_requests
from bench.operations import Request, requests_by_operation
from tests.support.proxy import Proxy
from tests.support.servers import Postgres

READERS = [f"reader-{number}" for number in range(50)]
MAKERS = [f"maker-{number}" for number in range(200)]
TEMPLATE = "bench"

FILL_USERS = "INSERT INTO users (id, email, name) SELECT id, id || '@example.com', initcap(id) FROM unnest(%s) AS id"
# Neighbours in order of their ids belong to different people: 20 for each of 50.
FILL_TASKS = """
INSERT INTO tasks (user_id, title, description, completed, due_date, created_at, updated_at)
SELECT 'reader-' || n % 50, 'Water the plants, part ' || n, CASE WHEN n % 4 > 0 THEN 'A few words on number ' || n END,
    n % 3 = 0, CASE WHEN n % 2 = 0 THEN date '2026-01-01' + n % 365 END,
    timestamptz '2026-01-01' + n * interval '1.370001 s', timestamptz '2026-02-01' + n * interval '2.7 s'
FROM generate_series(1, 1000) AS n
"""
RESTORE = "TRUNCATE tasks; INSERT INTO tasks SELECT * FROM seed ORDER BY id; ANALYZE tasks"


@dataclass(frozen=True)
class Stage:
    """`files` holds the file of each operation's requests, `requests` the same for other clients."""

    postgres: Postgres
    servers: Sequence[Server]
    requests: dict[str, list[Request]]
    files: dict[str, Path]
    proxy: Proxy

    def restore(self, server: Server) -> None:
        """Give its database the tasks of the beginning, whatever was done to them."""
        self.postgres.execute(server.database, RESTORE)


@contextmanager
def postgresql() -> Iterator[Postgres]:
    """Without autovacuum: it would fall into one contestant's turn. `Stage.restore` does what it would do."""
    with Postgres() as postgres:
        postgres.execute("postgres", "ALTER SYSTEM SET autovacuum = off")
        postgres.execute("postgres", "SELECT pg_reload_conf()")
        yield postgres


def create_tables(postgres: Postgres, database: str) -> None:
    """As a deployment does it."""
    postgres.execute("postgres", f"CREATE DATABASE {database} STRATEGY = FILE_COPY")
    variables = environment(postgres.url(database))
    subprocess.run([sys.executable, "-m", "release"], env=variables, cwd=ROOT, check=True)


def fill(postgres: Postgres, database: str) -> list[tuple[int, str]]:
    """Ids and owners of the tasks."""
    postgres.execute(database, FILL_USERS, [READERS + MAKERS])
    postgres.execute(database, FILL_TASKS)
    postgres.execute(database, "CREATE TABLE seed AS TABLE tasks")
    postgres.execute(database, "ANALYZE")
    return [(row[0], row[1]) for row in postgres.execute(database, "SELECT id, user_id FROM tasks ORDER BY id")]


@contextmanager
def stage(contestants: Sequence[Contestant], *, slow: bool = False) -> Iterator[Stage]:
    """All servers up, each with a copy of one database; with `slow`, the proxy, which can delay, is in between."""
    with ExitStack() as stack:
        postgres = stack.enter_context(postgresql())
        create_tables(postgres, TEMPLATE)
        requests = requests_by_operation(fill(postgres, TEMPLATE), READERS, MAKERS)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tasks-bench-")))
        files = {name: write_requests(folder / name, lines) for name, lines in requests.items()}
        proxy = stack.enter_context(Proxy(postgres.port))
        servers = []
        for contestant in contestants:
            database = f"bench_{contestant.name}"
            postgres.execute("postgres", f"CREATE DATABASE {database} TEMPLATE {TEMPLATE} STRATEGY = FILE_COPY")
            servers.append(stack.enter_context(running(contestant, (proxy if slow else postgres).url(database))))
        yield Stage(postgres, servers, requests, files, proxy)
