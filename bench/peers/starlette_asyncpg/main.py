"""The task API on Starlette and asyncpg alone: one prepared statement per request, about the limit in Python."""

# ruff: noqa: S608 - statements are put together from constants alone; whatever callers send is a parameter

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

import asyncpg
import jwt
import orjson
import uvicorn
from pydantic import BaseModel, Field, StringConstraints, ValidationError
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

SECRET = os.environ["BETTER_AUTH_SECRET"].encode()
FRONTEND_URL = os.getenv("BETTER_AUTH_URL", "http://localhost:3000")
POOL_SIZE = int(os.getenv("POOL_SIZE", "16"))

COLUMNS = "id, title, description, completed, due_date, created_at, updated_at"
CREATE_USER = "INSERT INTO users (id) VALUES ($1) ON CONFLICT DO NOTHING"
GET = f"SELECT {COLUMNS} FROM tasks WHERE id = $2 AND user_id = $1"
CREATE = f"""INSERT INTO tasks (user_id, title, description, completed, due_date, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING {COLUMNS}"""
TOGGLE = f"""UPDATE tasks SET completed = NOT completed, updated_at = $3
             WHERE id = $2 AND user_id = $1 RETURNING {COLUMNS}"""
DELETE = "DELETE FROM tasks WHERE id = $2 AND user_id = $1 RETURNING id"
STATUS = {"all": "", "pending": "AND NOT completed", "completed": "AND completed"}
SORT = {
    "created": "created_at DESC, id DESC",
    "title": 'lower(title) COLLATE "C", id',
    "due_date": "due_date NULLS LAST, id",
}

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Description = Annotated[str, Field(max_length=1000)]


class TaskCreate(BaseModel):
    title: Title
    description: Description | None = None
    completed: bool = False
    due_date: date | None = None


class TaskUpdate(BaseModel):
    title: Title = ""
    description: Description | None = None
    completed: bool = False
    due_date: date | None = None


class TaskQuery(BaseModel):
    status: Literal["all", "pending", "completed"] = "all"
    sort: Literal["created", "title", "due_date"] = "created"


class Bearer(AuthenticationBackend):
    def __init__(self) -> None:
        self.known_users: set[str] = set()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
        scheme, _, token = conn.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationError("Not authenticated")
        try:
            options: Any = {"require": ["exp", "sub"], "verify_aud": False}
            user_id = jwt.decode(token, SECRET, algorithms=["HS256"], options=options)["sub"]
        except jwt.InvalidTokenError:
            raise AuthenticationError("Could not validate credentials") from None
        if user_id not in self.known_users:
            await conn.app.state.pool.execute(CREATE_USER, user_id)
            self.known_users.add(user_id)
        return AuthCredentials(["authenticated"]), SimpleUser(user_id)


def unauthenticated(_: HTTPConnection, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 401, {"WWW-Authenticate": "Bearer"})


async def list_tasks(request: Request) -> Response:
    query = TaskQuery.model_validate(dict(request.query_params))
    sql = f"SELECT {COLUMNS} FROM tasks WHERE user_id = $1 {STATUS[query.status]} ORDER BY {SORT[query.sort]}"
    rows = await request.app.state.pool.fetch(sql, request.user.username)
    return json_response([as_task(row) for row in rows])


async def get_task(request: Request) -> Response:
    return await one_task(request, GET, request.path_params["id"])


async def create_task(request: Request) -> Response:
    task = TaskCreate.model_validate_json(await request.body())
    values = task.title, task.description, task.completed, task.due_date, datetime.now(UTC)
    return await one_task(request, CREATE, *values, status=201)


async def update_task(request: Request) -> Response:
    changes = TaskUpdate.model_validate_json(await request.body()).model_dump(exclude_unset=True)
    if not changes:
        return await get_task(request)
    changes["updated_at"] = datetime.now(UTC)
    assignments = ", ".join(f"{name} = ${number}" for number, name in enumerate(changes, 3))
    sql = f"UPDATE tasks SET {assignments} WHERE id = $2 AND user_id = $1 RETURNING {COLUMNS}"
    return await one_task(request, sql, request.path_params["id"], *changes.values())


async def toggle_task(request: Request) -> Response:
    return await one_task(request, TOGGLE, request.path_params["id"], datetime.now(UTC))


async def delete_task(request: Request) -> Response:
    if await request.app.state.pool.fetchval(DELETE, request.user.username, request.path_params["id"]) is None:
        raise HTTPException(404, "There is no such task.")
    return Response(status_code=204)


async def health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def one_task(request: Request, sql: str, *values: Any, status: int = 200) -> Response:
    row = await request.app.state.pool.fetchrow(sql, request.user.username, *values)
    if row is None:
        raise HTTPException(404, "There is no such task.")
    return json_response(as_task(row), status)


def as_task(row: asyncpg.Record) -> dict[str, Any]:
    return dict(row, created_at=timestamp(row["created_at"]), updated_at=timestamp(row["updated_at"]))


def timestamp(value: datetime) -> str:
    return f"{value.isoformat(timespec='microseconds')[:-6]}Z"


def json_response(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


async def http_exception(_: Request, error: HTTPException) -> Response:
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


async def invalid_input(_: Request, error: ValidationError) -> Response:
    return JSONResponse({"detail": "; ".join(item["msg"] for item in error.errors())}, 400)


async def keep_session(_: asyncpg.Connection) -> None:
    """Nothing here changes a session, and asyncpg's own reset is a round trip per request."""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    pool = asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=POOL_SIZE, max_size=POOL_SIZE, reset=keep_session)
    async with pool as app.state.pool:
        yield


tasks = [
    Route("/tasks", list_tasks, methods=["GET"]),
    Route("/tasks", create_task, methods=["POST"]),
    Route("/tasks/{id:int}", get_task, methods=["GET"]),
    Route("/tasks/{id:int}", update_task, methods=["PUT"]),
    Route("/tasks/{id:int}", delete_task, methods=["DELETE"]),
    Route("/tasks/{id:int}/complete", toggle_task, methods=["PATCH"]),
]
authentication = Middleware(AuthenticationMiddleware, backend=Bearer(), on_error=unauthenticated)
cors = Middleware(
    CORSMiddleware, allow_origins=[FRONTEND_URL], allow_credentials=True, allow_methods=["*"], allow_headers=["*"]
)
app = Starlette(
    routes=[Route("/health", health), Mount("/api", routes=tasks, middleware=[authentication])],
    middleware=[cors],
    exception_handlers={HTTPException: http_exception, ValidationError: invalid_input},
    lifespan=lifespan,
)

if __name__ == "__main__":
    port = int(os.environ["PORT"])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, loop="uvloop", http="httptools")
