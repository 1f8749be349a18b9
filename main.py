"""`uvicorn main:app` starts the same app as `uvicorn app:app`, and ends with 0 when it is asked to stop."""

import signal
import sys

from app import app

__all__ = ["app"]

# Uvicorn, alone and not as one of several workers, stops in order, and then sends itself the signal once more.
if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
