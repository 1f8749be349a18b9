"""Acts out a script of this folder in a browser, and lets it act on the test's servers meanwhile."""

import os
import shutil
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.browser.npm import install
from tests.conftest import missing
from tests.support.processes import Process

FOLDER = Path(__file__).parent
END = "The end."
Actions = Mapping[str, Callable[[], object]]


# The programs of each, the one to start first, and what has to be installed for them.
BROWSERS = {
    "chromium": (["chromium"], "chromium"),
    "firefox": (["firefox-esr"], "firefox-esr"),
    "webkit": (["WebKitWebDriver", "Xvfb"], "webkit2gtk-driver and xvfb"),
}


def find(browser: str) -> str:
    """Where its program is; without it the test is skipped, or under CI a failure."""
    programs, packages = BROWSERS[browser]
    found = [shutil.which(program) or "" for program in programs]
    if not all(found):
        missing(packages)
    return found[0]


def play(
    script: str, scratch: Path, actions: Actions | None = None, *, browser: str = "chromium", **environment: str
) -> None:
    """Run the script to its end; when it fails, so does the test, with the step and what the pages said.

    `actions` are what the script may do to the test's servers, by name. When BROWSER_SCREENSHOTS is set, screenshots go
    to a folder of the test's own in there; else only those of a failure are made, in `scratch`.
    """
    program, pictures = find(browser), os.environ.get("BROWSER_SCREENSHOTS", "")
    install(FOLDER)
    with controlled(actions or {}) as address:
        variables = {
            "BROWSER": browser,
            "PROGRAM": program,
            "CONTROL": address,
            "SCREENSHOTS": str(Path(pictures or scratch.parent) / scratch.name),
            "EVERY_SCREENSHOT": pictures,
            "HOME": str(scratch),
            **environment,
        }
        act(script, variables)


def act(script: str, environment: Mapping[str, str]) -> None:
    process = Process(["node", script], environment, cwd=FOLDER)
    try:
        with suppress(RuntimeError):
            process.wait_until(lambda: END in process.output(), seconds=1800)
    finally:
        process.terminate()
    if END not in process.output():
        pytest.fail(f"{script}\n{process.output()}", pytrace=False)


@contextmanager
def controlled(actions: Actions) -> Iterator[str]:
    """Run the action of a name on `POST /name`, one at a time, on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                actions[self.path.removeprefix("/")]()
                status, problem = 204, ""
            except Exception:
                status, problem = 500, traceback.format_exc()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(problem.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
