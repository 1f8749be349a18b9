"""Processes under fault: how the app's are started and what they hold, how any are frozen and connections killed."""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager

import psutil  # type: ignore[import-untyped]

from tests.support.backend import backend
from tests.support.processes import Process

# Answers how many there were.
KILL = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def workers(database_url: str, count: int = 2, **environment: str) -> AbstractContextManager[tuple[Process, str]]:
    """So many of them, each with four connections."""
    settings = {"DATABASE_POOL_SIZE": "4", "LOG_LEVEL": "WARNING", **environment}
    return backend(database_url, WEB_CONCURRENCY=str(count), **settings)  # type: ignore[arg-type]


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


def freeze(pid: int) -> Callable[[], None]:
    """Stop a process and its children where they are; call the result to let them go on."""
    processes = family(pid)
    for process in processes:
        process.send_signal(signal.SIGSTOP)

    def go_on() -> None:
        for process in processes:
            process.send_signal(signal.SIGCONT)

    return go_on
