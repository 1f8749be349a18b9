"""The example without a network: what is kept, sent once and in order, and asked about."""

import json
import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from tests.browser.example import Api, frontend
from tests.browser.stories import chromium, play
from tests.support.proxy import free_port

ROWS = """
SELECT users.email, tasks.title, tasks.completed FROM tasks JOIN users ON users.id = tasks.user_id
ORDER BY tasks.created_at DESC, tasks.id DESC
"""


def test_random_scripts_of_two_devices(tmp_path: Path) -> None:
    """Both devices and the database end equal, with every change once. OFFLINE_SEED repeats a run."""
    chromium()
    seed = os.environ.get("OFFLINE_SEED", str(random.randrange(1_000_000)))
    with ExitStack() as stack:
        actions: dict[str, Callable[[], object]] = {}
        worlds = [world(stack, tmp_path / str(number), str(number), actions) for number in range(3)]
        scripts = os.environ.get("OFFLINE_SCRIPTS", "50")
        play("scripts.mjs", tmp_path, actions, WORLDS=json.dumps(worlds), SEED=seed, SCRIPTS=scripts)


def world(stack: ExitStack, folder: Path, name: str, actions: dict[str, Callable[[], object]]) -> dict[str, object]:
    """An API and a frontend of their own; the script puts a network between them, on `port`."""
    folder.mkdir()
    app, port, rows = f"http://localhost:{free_port()}", free_port(), folder / "rows.json"
    database = folder / "todo.db"
    api = stack.enter_context(Api(f"sqlite:///{database}", app))
    address = f"http://127.0.0.1:{port}"
    stack.enter_context(frontend(app, address, JWT_MODE="hs256", AUTH_DATABASE_URL=f"{folder}/auth.db"))

    def keep_rows() -> None:
        with closing(sqlite3.connect(database)) as connection:
            rows.write_text(json.dumps(connection.execute(ROWS).fetchall()))

    parts = {"stop": api.stop, "start": api.start, "freeze": api.freeze, "thaw": api.thaw, "rows": keep_rows}
    actions |= {f"{part}-{name}": action for part, action in parts.items()}
    return {"name": name, "app": app, "api": api.address, "port": port, "rows": str(rows)}
