"""The task API on FastAPI and asynchronous SQLAlchemy: ORM models, and every write one UPDATE or INSERT … RETURNING."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, Literal

import jwt
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints
from sqlalchemy import DateTime, ForeignKey, delete, func, make_url, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SECRET = os.environ["BETTER_AUTH_SECRET"].encode()
FRONTEND_URL = os.getenv("BETTER_AUTH_URL", "http://localhost:3000")

engine = create_async_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg"),
    pool_size=int(os.getenv("POOL_SIZE", "16")),
    max_overflow=0,
)
new_session = async_sessionmaker(engine, expire_on_commit=False)


def now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: DateTime(timezone=True)}


class User(Base):
    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str | None]
    name: Mapped[str | None]


class Task(Base):
    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    description: Mapped[str | None]
    completed: Mapped[bool]
    due_date: Mapped[date | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime] = mapped_column(onupdate=now)


Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Description = Annotated[str, Field(max_length=1000)]
Timestamp = Annotated[datetime, PlainSerializer(lambda time: f"{time.isoformat(timespec='microseconds')[:-6]}Z")]


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


class TaskPublic(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    description: str | None
    completed: bool
    due_date: date | None
    created_at: Timestamp
    updated_at: Timestamp


async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]
TokenDep = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]

known_users: set[str] = set()


async def get_current_user(session: SessionDep, token: TokenDep) -> str:
    """The id of the user, whose row is there: made at the first sight of them."""
    try:
        options: Any = {"require": ["exp", "sub"], "verify_aud": False}
        user_id: str = jwt.decode(token.credentials, SECRET, algorithms=["HS256"], options=options)["sub"]
    except jwt.InvalidTokenError:
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"}) from None
    if user_id not in known_users:
        await session.execute(insert(User).values(id=user_id).on_conflict_do_nothing())
        await session.commit()
        known_users.add(user_id)
    return user_id


CurrentUser = Annotated[str, Depends(get_current_user)]

router = APIRouter(prefix="/api/tasks")


def found(task: Task | None) -> Task:
    if task is None:
        raise HTTPException(404, "There is no such task.")
    return task


@router.get("", response_model=list[TaskPublic])
async def read_tasks(
    session: SessionDep,
    user_id: CurrentUser,
    status: Literal["all", "pending", "completed"] = "all",
    sort: Literal["created", "title", "due_date"] = "created",
) -> Any:
    statement = select(Task).where(Task.user_id == user_id)
    if status != "all":
        statement = statement.where(Task.completed == (status == "completed"))
    if sort == "title":
        statement = statement.order_by(func.lower(Task.title).collate("C"), Task.id)
    elif sort == "due_date":
        statement = statement.order_by(Task.due_date.asc().nulls_last(), Task.id)
    else:
        statement = statement.order_by(Task.created_at.desc(), Task.id.desc())
    return (await session.scalars(statement)).all()


@router.get("/{id}", response_model=TaskPublic)
async def read_task(session: SessionDep, user_id: CurrentUser, id: int) -> Any:
    return found(await session.scalar(select(Task).where(Task.id == id, Task.user_id == user_id)))


@router.post("", response_model=TaskPublic, status_code=201)
async def create_task(session: SessionDep, user_id: CurrentUser, task_in: TaskCreate) -> Any:
    created = now()
    task = Task(user_id=user_id, created_at=created, updated_at=created, **task_in.model_dump())
    session.add(task)
    await session.commit()
    return task


@router.put("/{id}", response_model=TaskPublic)
async def update_task(session: SessionDep, user_id: CurrentUser, id: int, task_in: TaskUpdate) -> Any:
    changes = task_in.model_dump(exclude_unset=True)
    return await change_task(session, user_id, id, changes) if changes else await read_task(session, user_id, id)


@router.patch("/{id}/complete", response_model=TaskPublic)
async def toggle_task(session: SessionDep, user_id: CurrentUser, id: int) -> Any:
    return await change_task(session, user_id, id, {"completed": ~Task.completed})


async def change_task(session: AsyncSession, user_id: str, id: int, changes: dict[str, Any]) -> Task:
    statement = update(Task).where(Task.id == id, Task.user_id == user_id).values(changes).returning(Task)
    task = found(await session.scalar(statement))
    await session.commit()
    return task


@router.delete("/{id}", status_code=204)
async def delete_task(session: SessionDep, user_id: CurrentUser, id: int) -> None:
    deleted = await session.execute(delete(Task).where(Task.id == id, Task.user_id == user_id))
    if not deleted.rowcount:
        raise HTTPException(404, "There is no such task.")
    await session.commit()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.add_middleware(
    CORSMiddleware, allow_origins=[FRONTEND_URL], allow_credentials=True, allow_methods=["*"], allow_headers=["*"]
)


@app.exception_handler(RequestValidationError)
async def invalid_input(_: Request, error: RequestValidationError) -> JSONResponse:
    return JSONResponse({"detail": "; ".join(item["msg"] for item in error.errors())}, 400)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


app.include_router(router)

if __name__ == "__main__":
    port = int(os.environ["PORT"])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, loop="uvloop", http="httptools")
