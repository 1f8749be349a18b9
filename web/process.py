"""How the serving process ends."""

import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.process import BaseProcess


def end_with_0() -> None:
    """Make SIGTERM end this process with status 0, unless a handler is installed.

    Uvicorn with one worker shuts down on SIGTERM, and then sends itself the same signal again.
    """
    # Only the main thread may install a handler.
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)


def _end(*_: object) -> None:
    ignore_further_stops()
    sys.exit(0)


def ignore_further_stops() -> None:
    """While Python exits it restores the default handlers, so that a second SIGTERM would change the exit status."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def end_with_parent() -> None:
    """Shut a worker down when its parent process is gone, for example after SIGKILL.

    Call it at start-up, in the lifespan: while a worker imports `__main__`, it does not know its parent yet.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_stop_after, args=(parent,), daemon=True).start()


def _stop_after(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
