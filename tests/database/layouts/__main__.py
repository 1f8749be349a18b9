"""The command; see the package."""

import datetime
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tests.support.backend import ROOT
from tests.support.servers import Postgres
from tests.support.tokens import FRONTEND, SECRET

HERE = Path(__file__).parent
USAGE = 'Usage: python -m tests.database.layouts NAME "What differs." [FOLDER]'


def fill(url: str, source: Path) -> None:
    """Let the version in that folder make and fill a database."""
    settings = {"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": url, "BETTER_AUTH_URL": FRONTEND, "LOG_LEVEL": "ERROR"}
    paths = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **settings, "PYTHONPATH": paths}
    subprocess.run([sys.executable, HERE / "fill.py", SECRET], check=True, cwd=source, env=environment)


def dump_of_sqlite(source: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        fill(f"sqlite:///{folder}/todo.db", source)
        with closing(sqlite3.connect(f"{folder}/todo.db")) as connection:
            return "\n".join(connection.iterdump())


def dump_of_postgresql(source: Path) -> str:
    with Postgres() as server:
        name = server.create_database()
        fill(server.url(name), source)
        return server.dump(name)


def main(arguments: list[str]) -> None:
    if len(arguments) not in (2, 3):
        raise SystemExit(USAGE)
    name, what, *folder = arguments
    source = Path(*folder).resolve() if folder else ROOT
    title = f"-- The layout of {datetime.date.today()}. {what}"
    for kind, dump in (("sqlite", dump_of_sqlite(source)), ("postgresql", dump_of_postgresql(source))):
        path = HERE / f"{name}.{kind}.sql"
        path.write_text(f"{title}\n{dump}\n", newline="")


if __name__ == "__main__":
    main(sys.argv[1:])
