"""People who use the API all the time, each knowing exactly what their own list must be."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

from database import DEADLINE
from tests.faults.client import Answer, Client, Lost
from tests.support.tokens import bearer, token_of

PEOPLE = 32
# Tasks that a person has at most.
TASKS = 8
# Seconds beyond the deadline that an answer may need on a busy machine.
GRACE = 3.0
# Seconds that somebody waits after a failure; more patient than a robot, less than a person.
PAUSE = 0.1

Task = dict[str, Any]
WRITES = ("create", "update", "toggle", "delete")
GOOD = {"create": 201, "delete": 204, "get": 200, "list": 200, "update": 200, "toggle": 200}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request. `status` is None when there was no whole answer."""

    operation: str
    status: int | None
    seconds: float
    retry_after: str | None
    request_id: str

    @property
    def good(self) -> bool:
        return self.status == GOOD[self.operation]

    @property
    def late(self) -> bool:
        """After the app's deadline."""
        return self.seconds > DEADLINE + GRACE


class Person:
    """Does one thing after the other on tasks of their own, and compares every answer with what was acknowledged.

    A task on which a write failed is left alone from then on: it may or may not have happened.
    """

    def __init__(self, name: str, api: str, log: "Load", headers: Mapping[str, str]) -> None:
        self.name, self._log = name, log
        self._client = Client(api, {**bearer(token_of(name)), **headers})
        self._random = random.Random(name)  # noqa: S311 - the same mix in every run
        self._count = 0
        self.known: dict[int, Task] = {}
        # What a task may be by now; None is not there.
        self.uncertain: dict[int, list[Task | None]] = {}
        self.perhaps_created: set[str] = set()

    async def work(self) -> None:
        with closing(self._client):
            while not self._log.stopping:
                await self._log.going.wait()
                outcome = await self.step()
                if not outcome.good:
                    await asyncio.sleep(PAUSE)

    async def step(self) -> Outcome:
        operation = self._random.choice([*WRITES, "get", "list"]) if self.known else "create"
        if operation == "create" and len(self.known) >= TASKS:
            operation = "delete"
        self._count += 1
        mark = f"{self.name} {self._count}"
        task = {} if operation == "create" else self._random.choice(list(self.known.values()))
        request_id = mark.replace(" ", "-")
        method, path, body = request_for(operation, task, mark)
        started, answer = time.monotonic(), None
        self._log.under_way += 1
        try:
            answer = await self._client.request(method, path, body, **{"X-Request-ID": request_id})
        except Lost as lost:
            self._log.lost.append(f"{mark} {operation}: {lost}")
        finally:
            self._log.under_way -= 1
        status = answer.status if answer else None
        outcome = Outcome(
            operation,
            status,
            time.monotonic() - started,
            answer.headers.get("retry-after") if answer else None,
            request_id,
        )
        self._log.note(outcome)
        if answer and outcome.good:
            self._acknowledged(operation, task, body, answer)
        elif operation in WRITES:
            self._doubt(operation, task, body)
        if status not in (GOOD[operation], 503, None):
            self._wrong(f"{operation} of {task or mark} answered {status}")
        return outcome

    def _acknowledged(self, operation: str, task: Task, body: Any, answer: Answer) -> None:
        if operation == "delete":
            del self.known[task["id"]]
            return
        result = answer.json()
        if operation == "list":
            listed = [item for item in result if item["id"] in self.known]
            others = [item for item in result if item["id"] not in self.known]
            if listed != sorted(self.known.values(), key=lambda item: (item["created_at"], item["id"]), reverse=True):
                self._wrong(f"the list is {listed}, and should be {list(self.known.values())}")
            for item in others:
                if item["id"] not in self.uncertain and item["title"] not in self.perhaps_created:
                    self._wrong(f"{item} is in the list, and was never acknowledged")
            return
        changed = {"create": body, "update": body, "toggle": {"completed": not task.get("completed")}}
        expected = {**task, **changed.get(operation, {})}
        if operation != "get":
            expected["updated_at"] = result["updated_at"]
        if {**result, **expected} != result:
            self._wrong(f"{operation} answered {result}, and should have answered {expected}")
        self.known[result["id"]] = result

    def _doubt(self, operation: str, task: Task, body: Any) -> None:
        if operation == "create":
            self.perhaps_created.add(body["title"])
            return
        after = {"update": {**task, **(body or {})}, "toggle": {**task, "completed": not task["completed"]}}
        self.uncertain[task["id"]] = [self.known.pop(task["id"]), after.get(operation)]

    def _wrong(self, what: str) -> None:
        self._log.wrong.append(f"{self.name}: {what}")

    def compare(self, rows: Sequence[Task]) -> Iterable[str]:
        """What is in the database and should not be, or should be and is not."""
        stored = {row["id"]: row for row in rows}
        for task_id, task in self.known.items():
            if not _same(stored.get(task_id), task):
                yield f"{self.name}: {task} was acknowledged, but stored is {stored.get(task_id)}"
        for task_id, may_be in self.uncertain.items():
            if not any(_same(stored.get(task_id), task) for task in may_be):
                yield f"{self.name}: one of {may_be} was possible, but stored is {stored.get(task_id)}"
        rest = [row["title"] for row in rows if row["id"] not in {*self.known, *self.uncertain}]
        if len(set(rest)) < len(rest) or not set(rest) <= self.perhaps_created:
            yield f"{self.name}: nobody asked for all of {rest}"


def request_for(operation: str, task: Task, mark: str) -> tuple[str, str, Any]:
    """Its method, path and body; the mark is the new title."""
    if operation == "create":
        return "POST", "/api/tasks", {"title": mark}
    if operation == "list":
        return "GET", "/api/tasks", None
    path = f"/api/tasks/{task['id']}"
    if operation == "toggle":
        return "PATCH", f"{path}/complete", None
    if operation == "update":
        return "PUT", path, {"title": mark, "description": f"by {mark}"}
    return {"get": "GET", "delete": "DELETE"}[operation], path, None


def _same(stored: Task | None, task: Task | None) -> bool:
    if stored is None or task is None:
        return stored is task
    return all(stored[name] == task[name] for name in stored)


class Load:
    """Many people at once, and what became of all their requests."""

    def __init__(self, api: str, people: int = PEOPLE, **headers: str) -> None:
        self.outcomes: list[Outcome] = []
        self.good = 0
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self.under_way = 0
        self.going = asyncio.Event()
        self.stopping = False
        self.people = [Person(f"person{n}", api, self, headers) for n in range(people)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        self.going.set()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(person.work()) for person in self.people]
            try:
                yield self
            except BaseException:
                for task in tasks:
                    task.cancel()
                raise
            self.stopping = True
            self.going.set()

    async def pause(self) -> None:
        """Nothing is under way when this returns."""
        self.going.clear()
        await until(lambda: self.under_way == 0)

    async def more(self, count: int = 100) -> None:
        """Wait for so many more good answers."""
        wanted = self.good + count
        await until(lambda: self.good >= wanted)

    def note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.good += outcome.good

    def summary(self) -> Counter[tuple[str, int | None]]:
        return Counter((outcome.operation, outcome.status) for outcome in self.outcomes)

    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.good]

    def compare(self, rows: Iterable[Sequence[Any]]) -> list[str]:
        """What went wrong: in any answer, and in the stored (user_id, id, title, description, completed)."""
        by_owner: dict[str, list[Task]] = {person.name: [] for person in self.people}
        for owner, *values in rows:
            by_owner[owner].append(dict(zip(("id", "title", "description", "completed"), values, strict=True)))
        return self.wrong + [wrong for person in self.people for wrong in person.compare(by_owner[person.name])]


STORED = "SELECT user_id, id, title, description, completed FROM tasks"


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Raises `TimeoutError` when it does not come true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
