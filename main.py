"""`uvicorn main:app` starts the same app as `uvicorn app:app`."""

from app import app

__all__ = ["app"]
