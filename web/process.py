"""A process that serves: where it logs, and how it ends."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.process import BaseProcess


def configure_logging(level: str) -> None:
    """Send the app's log lines to standard error, for the process that serves."""
    # httpx logs the query of JWKS_URL at each fetch of the keys; watchfiles reports every file that changes.
    for name in ("httpx", "watchfiles"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def end_with_0() -> None:
    """Have the process that serves end with 0 when it is asked to stop, if it has no plan of its own for SIGTERM.

    Uvicorn, alone and not as one of several workers, stops in order, and then sends itself the signal once more.
    """
    # Nowhere but in the main thread may a process be told what to do with signals.
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)


def _end(*_: object) -> None:
    ignore_further_stops()
    sys.exit(0)


def ignore_further_stops() -> None:
    """On its way out Python gives signals their default back, and a second SIGTERM would end it with another status."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def end_with_parent() -> None:
    """Have a worker stop in order when the process that started it has gone without a word, as after SIGKILL.

    To be called while it starts to serve: when its `__main__` is imported, a worker does not know its parent yet.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_stop_after, args=(parent,), daemon=True).start()


def _stop_after(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
