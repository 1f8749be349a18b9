"""Whether the process and its database answer."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


async def health(_: Request) -> Response:
    """Liveness: the process answers."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """Readiness: the database answers too, and has the tables."""
    await request.app.state.database.ready()
    return JSONResponse({"status": "ready"})
