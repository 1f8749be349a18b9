"""The app's own processes: how they are started, and what they hold."""

from contextlib import AbstractContextManager

import psutil  # type: ignore[import-untyped]

from tests.backend import backend
from tests.servers import Process


def workers(database_url: str, count: int = 2, **environment: str) -> AbstractContextManager[tuple[Process, str]]:
    """So many of them, each with four connections."""
    settings = {"DATABASE_POOL_SIZE": "4", "LOG_LEVEL": "WARNING", **environment}
    return backend(database_url, "--workers", str(count), **settings)  # type: ignore[arg-type]


def family(pid: int) -> list[psutil.Process]:
    """A process and its children."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def resident(pid: int) -> float:
    """Bytes of memory of a process and its children."""
    return sum(float(each.memory_info().rss) for each in family(pid))


def connections(pid: int, port: int) -> int:
    """How many a process and its children have to that port."""
    return sum(
        connection.raddr.port == port
        for each in family(pid)
        for connection in each.net_connections("tcp")
        if connection.raddr
    )
