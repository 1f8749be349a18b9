"""Subprocesses for tests, and any server that speaks HTTP.

Whatever ends the test run (an exception, Ctrl-C, SIGKILL), nothing that is started here outlives it.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

Command = Sequence[str | Path]

# Its stdin is a pipe that closes when we die, in any way. $1: a signal, $2: a process, the rest: directories.
WATCH = 'read _; kill -s "$1" "$2"; sleep 1; kill -s KILL -- "-$2"; shift 2; rm -rf -- "$@"'


class Process:
    """A subprocess in a session of its own, so that Ctrl-C reaches us and not it.

    `env` is all that it sees besides PATH, so that a developer's DATABASE_URL does not reach a test. `scratch`
    are directories to remove with it should we be killed. Other options are those of `Popen`.
    """

    # May raise: a quick run of the tests starts nothing.
    before_start: Callable[[], object] = staticmethod(lambda: None)

    def __init__(
        self,
        command: Command,
        env: Mapping[str, str],
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        scratch: Sequence[Path] = (),
        **options: Any,
    ) -> None:
        self.before_start()
        self._stop_signal = stop_signal
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - terminate() closes it
        self._output = ""
        options |= {"stdin": subprocess.DEVNULL, "stdout": self._log, "stderr": subprocess.STDOUT}
        options |= {"env": {"PATH": os.environ.get("PATH", os.defpath), **env}, "start_new_session": True}
        self._popen: subprocess.Popen[bytes] = subprocess.Popen(command, **options)
        watch = ["sh", "-c", WATCH, "watch", stop_signal.name[3:], str(self.pid), *map(str, scratch)]
        self._watch = subprocess.Popen(watch, stdin=subprocess.PIPE, stderr=self._log, start_new_session=True)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def output(self) -> str:
        """What it has written to stdout and stderr so far; still there after its end."""
        if not self._log.closed:
            # Not read(): the child shares our file offset.
            log = self._log.fileno()
            self._output = os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")
        return self._output

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30) -> None:
        """Raise RuntimeError, with its output, if it ends or `seconds` pass before `ready()` is true."""
        deadline = time.monotonic() + seconds
        while not ready():
            code = self._popen.poll()
            if code is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Not ready (exit code {code}): {self._popen.args!r}\n{self.output()}")
            time.sleep(0.01)

    def terminate(self, seconds: float = 10) -> int:
        """Ask it to stop; give its exit code, negative if a signal ended it. May be repeated.

        After `seconds` it is killed, and so are children that it leaves behind in its process group.
        """
        if not self._log.closed:
            try:
                self._popen.send_signal(self._stop_signal)
                with suppress(subprocess.TimeoutExpired):
                    self._popen.wait(seconds)
            finally:
                self._kill()
        return self._popen.wait()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self._watch.kill()
        self._watch.communicate()
        self.output()
        self._log.close()


def missing(what: str) -> None:
    """Skip on a developer's machine; fail where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and under CI nothing is skipped")
    pytest.skip(f"{what} is not installed")


@contextmanager
def serve(command: Command, env: Mapping[str, str], ready: str, **options: Any) -> Iterator[Process]:
    """Run a server during the block, which begins when the URL `ready` answers. Options as for Process."""
    process = Process(command, env, **options)
    try:
        process.wait_until(lambda: answers(ready))
        yield process
    finally:
        process.terminate()


def answers(url: str) -> bool:
    """Whether anything at all, a 503 included, is answered within a second."""
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=1)) as client, suppress(OSError, HTTPException):
        client.request("GET", parts.path or "/")
        return client.getresponse().status > 0
    return False
