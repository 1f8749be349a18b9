"""Standard error, as a process of its own writes it."""

import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from web.log import UVICORN, configure_logging

Begin = Callable[[str], io.StringIO]


@pytest.fixture
def standard_error(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], io.StringIO]]:
    """To be called in a test: pytest captures each of its phases anew."""

    def replace() -> io.StringIO:
        written = io.StringIO()
        monkeypatch.setattr(sys, "stderr", written)
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        monkeypatch.setattr(threading, "excepthook", threading.excepthook)
        monkeypatch.setattr(logging.root, "handlers", [])
        for logger in loggers[1:]:
            # As in a new process, which has no server yet.
            logger.setLevel(logging.NOTSET)
            for attribute, value in {"handlers": [], "propagate": False, "disabled": False}.items():
                monkeypatch.setattr(logger, attribute, value)
        # The client of the tests logs each request, which the server does not.
        monkeypatch.setattr(logging.getLogger("httpx2"), "disabled", True)
        return written

    loggers = [logging.root, *map(logging.getLogger, UVICORN)]
    levels = [logger.level for logger in loggers]
    yield replace
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def begin(standard_error: Callable[[], io.StringIO]) -> Begin:
    """Log in this form from now on, and give standard error."""

    def begin(form: str) -> io.StringIO:
        written = standard_error()
        configure_logging("INFO", form)
        # The suite listens to each statement, and so has them logged whatever the level is.
        (handler,) = logging.root.handlers
        handler.addFilter(lambda record: record.levelno >= logging.root.level)
        return written

    return begin
