"""Databases of earlier versions, from `tests/database/layouts`."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.support.backend import PATH, ROOT
from tests.support.tokens import SECRET

FOLDER = ROOT / "tests" / "database" / "layouts"
# By layout, the oldest first.
LAYOUTS = sorted(path.name.removesuffix(".sqlite.sql") for path in FOLDER.glob("*.sqlite.sql"))


def dump(layout: str, kind: str) -> str:
    """The statements. Some texts in them have ends of lines of their own."""
    return (FOLDER / f"{layout}.{kind}.sql").read_bytes().decode()


def restore_sqlite(path: Path, layout: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump(layout, "sqlite"))


def bring_up_to_date(url: str) -> None:
    """By `python -m release`, whose connections end with its process."""
    command = [sys.executable, "-m", "release"]
    environment = {"PATH": PATH, "BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": url}
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
