"""Who is measured: ours and five peers, and how a server of each is started."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Process, serve
from tests.support.proxy import free_port
from tests.support.tokens import FRONTEND, SECRET

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "bench"
PEERS = BENCH / "peers"
PEERS_PYTHON = BENCH / ".venv" / "bin" / "python"
POOL_SIZE = 16


@dataclass(frozen=True)
class Contestant:
    """`command` is run in `folder`, and reads PORT. `packages` are those worth a version."""

    name: str
    title: str
    command: Sequence[str | Path]
    folder: Path
    packages: Sequence[str]

    @property
    def in_python(self) -> bool:
        return self.command[0] != "node"


def _python(name: str, title: str, *packages: str) -> Contestant:
    return Contestant(name, title, [PEERS_PYTHON, "main.py"], PEERS / name, [*packages, "uvicorn", "pydantic", "PyJWT"])


def _node(name: str, title: str, *packages: str) -> Contestant:
    return Contestant(name, title, ["node", "server.mjs"], PEERS / name, [*packages, "pg"])


SERVE_OURS = [sys.executable, "main.py"]
OURS_PACKAGES = ["starlette", "sqlmodel", "sqlalchemy", "psycopg2-binary", "uvicorn", "pydantic", "PyJWT"]

OURS = Contestant("ours", "Ours", SERVE_OURS, ROOT, OURS_PACKAGES)
SQLMODEL = _python("fastapi_sqlmodel", "FastAPI + SQLModel", "fastapi", "sqlmodel", "sqlalchemy", "psycopg2-binary")
SQLALCHEMY = _python("fastapi_asyncpg", "FastAPI + SQLAlchemy asyncio", "fastapi", "sqlalchemy", "asyncpg")
ASYNCPG = _python("starlette_asyncpg", "Starlette + raw asyncpg", "starlette", "asyncpg", "orjson")
EXPRESS = _node("express_pg", "Express + pg", "express", "jsonwebtoken", "zod")
FASTIFY = _node("fastify_pg", "Fastify + pg", "fastify", "@fastify/jwt")

CONTESTANTS = [OURS, SQLMODEL, SQLALCHEMY, ASYNCPG, EXPRESS, FASTIFY]
TITLES = {contestant.name: contestant.title for contestant in CONTESTANTS}


@dataclass(frozen=True)
class Server:
    """One running process of a contestant, and the name of the database that it alone uses."""

    contestant: Contestant
    process: Process
    port: int
    database: str

    @property
    def name(self) -> str:
        return self.contestant.name

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def environment(database_url: str, port: int = 8000) -> dict[str, str]:
    """Everybody's: the peers read POOL_SIZE and PORT, ours three others, Node NODE_ENV."""
    return {
        "BETTER_AUTH_SECRET": SECRET,
        "BETTER_AUTH_URL": FRONTEND,
        "DATABASE_URL": database_url,
        "POOL_SIZE": str(POOL_SIZE),
        "DATABASE_POOL_SIZE": str(POOL_SIZE),
        "LOG_LEVEL": "WARNING",
        "NODE_ENV": "production",
        "PORT": str(port),
        "UVICORN_HOST": "127.0.0.1",
    }


@contextmanager
def running(contestant: Contestant, database_url: str) -> Iterator[Server]:
    """Its server, during the block."""
    port = free_port()
    variables = environment(database_url, port)
    with serve(contestant.command, variables, f"http://127.0.0.1:{port}/health", cwd=contestant.folder) as process:
        yield Server(contestant, process, port, database_url.rpartition("/")[2])
