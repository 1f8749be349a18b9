"""The example without a network: what is kept, sent once and in order, and asked about."""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.browser.example import Api, frontend
from tests.browser.stories import find, play
from tests.support.proxy import free_port

ROWS = """
SELECT users.email, tasks.title, tasks.completed FROM tasks JOIN users ON users.id = tasks.user_id
ORDER BY tasks.created_at DESC, tasks.id DESC
"""


class World:
    """An API and a frontend of their own. The script puts a network between the browser and the API, on `port`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.app, self.port, self.rows = f"http://localhost:{free_port()}", free_port(), folder / "rows.json"
        self._database, self._people = folder / "todo.db", folder / "auth.db"
        self.api = Api(f"sqlite:///{self._database}", self.app)
        self.network = f"http://127.0.0.1:{self.port}"
        self._frontend = ExitStack()

    def start_app(self) -> None:
        variables = {"JWT_MODE": "hs256", "AUTH_DATABASE_URL": str(self._people)}
        self._frontend.enter_context(frontend(self.app, self.network, **variables))

    def stop_app(self) -> None:
        self._frontend.close()

    def keep_rows(self) -> None:
        with closing(sqlite3.connect(self._database)) as connection:
            self.rows.write_text(json.dumps(connection.execute(ROWS).fetchall()))

    def actions(self, name: str) -> dict[str, Callable[[], object]]:
        parts: dict[str, Callable[[], object]] = {
            "stop": self.api.stop,
            "start": self.api.start,
            "freeze": self.api.freeze,
            "thaw": self.api.thaw,
            "rows": self.keep_rows,
            "stop-app": self.stop_app,
            "start-app": self.start_app,
        }
        return {f"{part}-{name}": action for part, action in parts.items()}

    def __enter__(self) -> Self:
        self.api.start()
        self.start_app()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop_app()
        self.api.stop()


def test_offline(tmp_path: Path) -> None:
    """What is done without a network is kept, sent once and in order, asked about, and cleared at sign-out."""
    find("chromium")  # before the long build
    with World(tmp_path / "world") as world:
        addresses = {"UPSTREAM": world.api.address, "API": world.network, "APP": world.app, "PORT": str(world.port)}
        play("offline.mjs", tmp_path, world.actions("it"), **addresses, STEP_TIMEOUT_MS="60000")


def test_random_scripts_of_two_devices(tmp_path: Path) -> None:
    """Both devices and the database end equal, with every change there once.

    OFFLINE_SEED and OFFLINE_SCRIPTS (such as 7-7) repeat what a failure names, and 1-50 plays many more.
    """
    find("chromium")  # before the long build
    seed, scripts = os.environ.get("OFFLINE_SEED", "753617"), os.environ.get("OFFLINE_SCRIPTS", "1-4")
    first, _, last = scripts.partition("-")
    with ExitStack() as stack:
        side_by_side = min(4, (int(last) - int(first)) // 2 + 1)
        worlds = {str(number): stack.enter_context(World(tmp_path / str(number))) for number in range(side_by_side)}
        actions = {name: action for number, world in worlds.items() for name, action in world.actions(number).items()}
        described = [
            {"name": name, "app": world.app, "api": world.api.address, "port": world.port, "rows": str(world.rows)}
            for name, world in worlds.items()
        ]
        play("scripts.mjs", tmp_path, actions, WORLDS=json.dumps(described), SEED=seed, SCRIPTS=scripts)
