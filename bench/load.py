"""One measurement: wrk against one server, and what the server's process spent."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contestants import BENCH, Server
from bench.operations import Request

TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(RuntimeError):
    """Why no figure can be trusted."""


@dataclass(frozen=True)
class Load:
    """`rate` is per second, `p50` and `p99` are milliseconds, `cpu` seconds of the server per 10,000 requests."""

    requests: int
    rate: float
    p50: float
    p99: float
    cpu: float


def write_requests(path: Path, requests: Sequence[Request]) -> Path:
    path.write_text("".join("\t".join(request) + "\n" for request in requests))
    return path


def wrk(url: str, requests: Path, connections: int, seconds: float) -> "subprocess.Popen[str]":
    """Started; `finish` waits for it."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "60s"]
    command += ["-s", str(BENCH / "load.lua"), url, "--", str(requests)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: "subprocess.Popen[str]", what: str) -> dict[str, Any]:
    """What load.lua printed. Raises `BenchError` unless every answer was a good one."""
    try:
        output, complaints = process.communicate()
    finally:
        process.kill()  # should we be interrupted; otherwise it has ended
    if process.returncode:
        raise BenchError(f"{what}: wrk failed: {output}{complaints}")
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    if figures.pop("refused") + figures.pop("failed"):
        raise BenchError(f"{what}: not every answer was good: {output.splitlines()[-1]}")
    return figures


def measure(server: Server, requests: Path, connections: int, seconds: float) -> Load:
    before = cpu_seconds(server.process.pid)
    figures = finish(wrk(server.url, requests, connections, seconds), f"{server.name}, {requests.stem}")
    spent = cpu_seconds(server.process.pid) - before
    return Load(**figures, cpu=spent / max(1, figures["requests"]) * 10_000)


def cpu_seconds(pid: int, *, ended_children: bool = False) -> float:
    """User and system time of all its threads, and of children that have ended if wanted."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if ended_children else 13])) / TICKS


def memory(pid: int, name: str = "VmRSS") -> float:
    """MiB; `VmHWM` is the most that was ever resident, or since `forget_peak`."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith(f"{name}:"))


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")
