"""Packages of npm, for tests that need Node.js."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing
from tests.support.processes import Process

INSTALL = ["npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other pytest processes out meanwhile."""
    with (folder / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(folder: Path) -> None:
    """Install what the folder's package.json names, once for each version of it."""
    Process.before_start()
    if not shutil.which("npm"):
        missing("npm (Node.js 20 or newer)")
    wanted, stamp = (folder / "package.json").read_text(), folder / "node_modules" / ".installed-for-tests"
    with alone_in(folder):
        if not stamp.exists() or stamp.read_text() != wanted:
            subprocess.run(INSTALL, cwd=folder, check=True, timeout=300)
            stamp.write_text(wanted)
