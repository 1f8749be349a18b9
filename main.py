"""`python main.py [--reload]` serves the app, as `uvicorn main:app` and `app:app` do; `--check` says what is wrong."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from web.log import JSON, begin_logging

if __name__ == "__main__" and sys.argv[1:] == ["--check"]:
    # Before the app, which bad settings keep from being made.
    from web.check import check

    status = check()
    sys.stdout.flush()
    # Python's own end waits for the threads in which names (DNS) are looked up.
    os._exit(status)

# Before the rest, whose import may fail.
begin_logging()

from app import app  # noqa: E402
from settings import Settings, settings_or_exit  # noqa: E402
from web.process import ignore_further_stops  # noqa: E402

__all__ = ["app", "serve"]

# What makes uvicorn safe here: the limits of `web/http1.py`, no WebSockets, no access log (it would show queries), and
# no `Server` header. At shutdown, running requests have 20 seconds.
OPTIONS: dict[str, Any] = {
    "http": "web.http1:BoundedHttp",
    "ws": "none",
    "access_log": False,
    "server_header": False,
    "timeout_graceful_shutdown": 20,
    "timeout_worker_healthcheck": 30,
}


# Changes in these folders do not restart the server. Uvicorn excludes only existing folders, by absolute path.
OTHERS = [Path(__file__).parent / name for name in (".venv", "bench", "docs", "examples", "scripts", "tests")]


def serve(*, reload: bool = False) -> None:
    """Serve at PORT with WEB_CONCURRENCY workers; at the address in UVICORN_HOST, or at all of them.

    With `reload` it is one worker, restarted when the source changes. Exits with a status other than 0 when the start
    fails.
    """
    settings = settings_or_exit()
    # The last two because uvicorn would read them from the environment itself, where it takes "" for a value.
    options = {
        **OPTIONS,
        "host": settings.host,
        "port": settings.port,
        "log_level": settings.log_level.lower(),
        "forwarded_allow_ips": settings.trusted_proxies,
        "workers": 1 if reload else settings.workers,
    }
    if settings.log_format == JSON:
        # Uvicorn's own is for text.
        options["log_config"] = None
    with _metrics(settings):
        if reload:
            excludes = [str(folder) for folder in OTHERS if folder.is_dir()]
            uvicorn.run("main:app", reload=True, reload_excludes=excludes, **options)
        elif settings.workers == 1:
            uvicorn.run("main:app", **options)
        else:
            _serve_with_workers(uvicorn.Config("main:app", **options))


def _serve_with_workers(config: uvicorn.Config) -> None:
    """What `uvicorn.run` does for several workers, but that exits with 0 even when a worker could not start."""
    supervisor = Multiprocess(config, [config.bind_socket()])
    supervisor.run()
    ignore_further_stops()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        sys.exit(STARTUP_FAILURE)


def _metrics(settings: Settings) -> AbstractContextManager[None]:
    """The port of METRICS_PORT, for the workers that are started meanwhile."""
    if settings.metrics_port is None:
        return nullcontext()
    # Imported only here, because prometheus-client is.
    from web.exposition import serve_metrics

    return serve_metrics(settings.host, settings.metrics_port)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--reload"]):
        usage = "Usage: python main.py [--reload | --check]."
        sys.exit(f"{usage} The environment sets the port and everything else; see README.md.")
    serve(reload=bool(sys.argv[1:]))
