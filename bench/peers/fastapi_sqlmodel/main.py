"""The task API as the tutorials of FastAPI and SQLModel and full-stack-fastapi-template teach it."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

import jwt
import uvicorn
from anyio.to_thread import current_default_thread_limiter
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import PlainSerializer, StringConstraints
from sqlalchemy import event, func, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Field, Session, SQLModel, create_engine, select

SECRET = os.environ["BETTER_AUTH_SECRET"]
FRONTEND_URL = os.getenv("BETTER_AUTH_URL", "http://localhost:3000")

URL = make_url(os.environ["DATABASE_URL"])
ON_SQLITE = URL.get_backend_name() == "sqlite"

engine = create_engine(
    URL if ON_SQLITE else URL.set(drivername="postgresql+psycopg2"),
    pool_size=int(os.getenv("POOL_SIZE", "16")),
    max_overflow=0,
    pool_pre_ping=not ON_SQLITE,
    connect_args={"check_same_thread": False} if ON_SQLITE else {"options": "-c timezone=utc"},
)

if ON_SQLITE:

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.close()


Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Timestamp = Annotated[datetime, PlainSerializer(lambda time: f"{time.isoformat(timespec='microseconds')[:-6]}Z")]


def now() -> datetime:
    return datetime.now(UTC)


class User(SQLModel, table=True):
    __tablename__ = "users"

    id: str = Field(primary_key=True)
    email: str | None = None
    name: str | None = None


class TaskCreate(SQLModel):
    title: Title
    description: str | None = Field(default=None, max_length=1000)
    completed: bool = False
    due_date: date | None = None


class TaskUpdate(SQLModel):
    title: Title = ""
    description: str | None = Field(default=None, max_length=1000)
    completed: bool = False
    due_date: date | None = None


class TaskPublic(SQLModel):
    id: int
    title: str
    description: str | None
    completed: bool
    due_date: date | None
    created_at: Timestamp
    updated_at: Timestamp


class Task(TaskCreate, table=True):
    __tablename__ = "tasks"

    id: int | None = Field(default=None, primary_key=True)
    user_id: str = Field(foreign_key="users.id")
    created_at: datetime
    updated_at: datetime


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]
TokenDep = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


def get_current_user(session: SessionDep, token: TokenDep) -> User:
    try:
        options: Any = {"require": ["exp", "sub"], "verify_aud": False}
        payload = jwt.decode(token.credentials, SECRET, algorithms=["HS256"], options=options)
    except jwt.InvalidTokenError:
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"}) from None
    user = session.get(User, payload["sub"])
    if user is None:
        # First calls may come together.
        insert = sqlite.insert if ON_SQLITE else postgresql.insert
        session.exec(insert(User).values(id=payload["sub"]).on_conflict_do_nothing())
        session.commit()
        user = session.get_one(User, payload["sub"])
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]

router = APIRouter(prefix="/api/tasks")


def get_own_task(session: Session, user: User, id: int) -> Task:
    task = session.get(Task, id)
    if task is None or task.user_id != user.id:
        raise HTTPException(404, "There is no such task.")
    return task


def save(session: Session, task: Task) -> Task:
    session.add(task)
    session.commit()
    session.refresh(task)
    return task


@router.get("", response_model=list[TaskPublic])
def read_tasks(
    session: SessionDep,
    user: CurrentUser,
    status: Literal["all", "pending", "completed"] = "all",
    sort: Literal["created", "title", "due_date"] = "created",
) -> Any:
    statement = select(Task).where(Task.user_id == user.id)
    if status != "all":
        statement = statement.where(Task.completed == (status == "completed"))
    if sort == "title":
        statement = statement.order_by(func.lower(Task.title).collate("C"), Task.id)
    elif sort == "due_date":
        statement = statement.order_by(Task.due_date.asc().nulls_last(), Task.id)
    else:
        statement = statement.order_by(Task.created_at.desc(), Task.id.desc())
    return session.exec(statement).all()


@router.get("/{id}", response_model=TaskPublic)
def read_task(session: SessionDep, user: CurrentUser, id: int) -> Any:
    return get_own_task(session, user, id)


@router.post("", response_model=TaskPublic, status_code=201)
def create_task(session: SessionDep, user: CurrentUser, task_in: TaskCreate) -> Any:
    created = now()
    own = {"user_id": user.id, "created_at": created, "updated_at": created}
    return save(session, Task.model_validate(task_in, update=own))


@router.put("/{id}", response_model=TaskPublic)
def update_task(session: SessionDep, user: CurrentUser, id: int, task_in: TaskUpdate) -> Any:
    task = get_own_task(session, user, id)
    changes = task_in.model_dump(exclude_unset=True)
    if changes:
        task.sqlmodel_update(changes, update={"updated_at": now()})
    return save(session, task)


@router.patch("/{id}/complete", response_model=TaskPublic)
def toggle_task(session: SessionDep, user: CurrentUser, id: int) -> Any:
    task = get_own_task(session, user, id)
    task.completed = not task.completed
    task.updated_at = now()
    return save(session, task)


@router.delete("/{id}", status_code=204)
def delete_task(session: SessionDep, user: CurrentUser, id: int) -> None:
    session.delete(get_own_task(session, user, id))
    session.commit()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    # A request holds its connection from its first dependency on, also while it waits for a thread: with FastAPI's 40
    # threads, all of them may come to wait for connections whose holders wait for a thread.
    current_default_thread_limiter().total_tokens = 200
    yield
    engine.dispose()


app = FastAPI(lifespan=lifespan)
app.add_middleware(
    CORSMiddleware, allow_origins=[FRONTEND_URL], allow_credentials=True, allow_methods=["*"], allow_headers=["*"]
)


@app.exception_handler(RequestValidationError)
def invalid_input(_: Request, error: RequestValidationError) -> JSONResponse:
    return JSONResponse({"detail": "; ".join(item["msg"] for item in error.errors())}, 400)


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


app.include_router(router)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=False)
