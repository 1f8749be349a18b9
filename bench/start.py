"""What a worker costs before it works: importing the app, and resident memory after the first request."""

import os
import resource
import subprocess
from statistics import median
from typing import Any

from bench.agreement import Client
from bench.contestants import OURS, Contestant, Server, environment
from bench.load import memory
from bench.results import note
from bench.stage import stage
from bench.throughput import Plan

TIMES = 5


def start(plan: Plan) -> dict[str, dict[str, Any]]:
    with stage(plan.contestants) as scene:
        idle = {server.name: _idle(server, scene) for server in scene.servers}
        url = scene.postgres.url("bench")
        return {each.name: {**_imports(each, url), "idle_mib": idle[each.name]} for each in plan.contestants}


def _idle(server: Server, scene: Any) -> float:
    """MiB, after one list of 20 tasks."""
    client = Client(server.url)
    client.send(scene.requests["list"][0])
    client.close()
    return memory(server.process.pid)


def _imports(contestant: Contestant, url: str) -> dict[str, float]:
    """Milliseconds, of Python alone. The first import, which may have to compile, is not counted."""
    if not contestant.in_python:
        return {}
    note(f"importing {contestant.name}")
    _, *times = [_import(contestant, url) for _ in range(TIMES + 1)]
    return {"import_ms": median(time[0] for time in times), "process_ms": median(time[1] for time in times)}


def _import(contestant: Contestant, url: str) -> tuple[float, float]:
    """What -X importtime adds up to, and the CPU time of a process that imports without it."""
    code = "import app; app.app" if contestant is OURS else "import main"
    python = str(contestant.command[0])
    return _importtime([python, "-X", "importtime", "-c", code], contestant, url), _cpu(
        [python, "-c", code], contestant, url
    )


def _importtime(command: list[str], contestant: Contestant, url: str) -> float:
    """The sum of the first column, each module's own microseconds, which counts imports inside functions too."""
    report = _run(command, contestant, url)
    own = (line.split(":")[1].split("|")[0] for line in report.splitlines() if line.startswith("import time:"))
    return sum(int(time) for time in own if time.strip().isdigit()) / 1000


def _cpu(command: list[str], contestant: Contestant, url: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(command, contestant, url)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def _run(command: list[str], contestant: Contestant, url: str) -> str:
    variables = {"PATH": os.environ["PATH"], **environment(url)}
    run = subprocess.run(command, cwd=contestant.folder, env=variables, check=True, capture_output=True, text=True)
    return run.stderr
