"""Somebody who keeps a copy of one person's tasks by `GET /api/changes`, and notices whatever is wrong with it."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

from tests.faults.client import Answer, Client, Lost
from tests.support.tokens import bearer, token_of

Task = dict[str, Any]

# Every column of an answer.
ALL = "SELECT id, title, description, completed, due_date, created_at, updated_at FROM tasks WHERE user_id = '{}'"

# Seconds that a follower waits after a failure.
PAUSE = 0.02
# And until it looks again.
BETWEEN = 0.005


class Acknowledged:
    """What people know for certain of some tasks, by id: the latest `updated_at` in any answer, None once deleted."""

    def __init__(self) -> None:
        self.latest: dict[int, str | None] = {}

    def note(self, task_id: int, updated_at: str | None) -> None:
        known = self.latest.setdefault(task_id, "")
        if known is not None:
            self.latest[task_id] = updated_at and max(known, updated_at)


def missed(latest: Mapping[int, str | None], tasks: Mapping[int, Task], gone: set[int]) -> list[str]:
    """What was acknowledged before a poll, and is not in the copy after it."""
    found = []
    for task_id, updated_at in latest.items():
        copy = tasks[task_id]["updated_at"] if task_id in tasks else None
        if updated_at is None and copy:
            found.append(f"task {task_id} was deleted, and the copy has it of {copy}")
        elif updated_at and task_id not in gone and (copy is None or copy < updated_at):
            found.append(f"task {task_id} was changed at {updated_at}, and the copy has it of {copy}")
    return found


class Follower:
    """Asks any of the processes each time. With `afresh`, begins without a token as soon as there is no more.

    `wrong` is what should not have happened: something was missed, a task went back to an earlier state, or it came
    back after it was deleted.
    """

    def __init__(
        self,
        apis: Sequence[str],
        name: str,
        acknowledged: Acknowledged | None = None,
        limit: int = 500,
        afresh: bool = False,
    ) -> None:
        self.tasks: dict[int, Task] = {}
        self.gone: set[int] = set()
        self.wrong: list[str] = []
        self.polls = 0
        self._seen: dict[int, Task] = {}
        self._absent: set[int] = set()
        self._acknowledged = acknowledged or Acknowledged()
        self._limit, self._afresh = limit, afresh
        self._token: str | None = None
        self._clients = [Client(api, bearer(token_of(name))) for api in apis]
        self._random = random.Random(f"{name} {limit} {afresh}")  # noqa: S311 - the same mix in every run

    async def catch_up(self) -> None:
        """Poll until there is no more."""
        if self._afresh:
            self.tasks, self.gone, self._token = {}, set(), None
        begins, more = self._token is None, True
        while more:
            before = dict(self._acknowledged.latest)
            more = await self.poll()
        if begins:
            # What is deleted before that is in no answer, although nobody may know of it yet. `compare` looks again.
            absent = {task_id for task_id, latest in before.items() if latest and task_id not in self.tasks}
            self.gone |= absent
            self._absent |= absent
        self.wrong += missed(before, self.tasks, self.gone)

    async def poll(self) -> bool:
        """Apply one answer; whether there is more."""
        path = f"/api/changes?limit={self._limit}" + (f"&since={self._token}" if self._token else "")
        answer = await self._answer(path)
        assert answer.status == 200, answer
        changes = answer.json()
        self.polls += 1
        for task in changes["tasks"]:
            self._put(task)
        for task_id in changes["deleted"]:
            self.tasks.pop(task_id, None)
            self.gone.add(task_id)
        self._token = changes["token"]
        return bool(changes["more"])

    async def _answer(self, path: str) -> Answer:
        """Whatever fails is asked again."""
        async with asyncio.timeout(60):
            while True:
                with suppress(Lost):
                    answer = await self._random.choice(self._clients).request("GET", path)
                    if answer.status != 503:
                        return answer
                await asyncio.sleep(PAUSE)

    def _put(self, task: Task) -> None:
        before = self._seen.get(task["id"], task)
        if task["id"] in self.gone:
            self.wrong.append(f"{task} came back")
        if task["updated_at"] < before["updated_at"] or (task["updated_at"] == before["updated_at"] and task != before):
            self.wrong.append(f"{before} became {task}")
        self.tasks[task["id"]] = self._seen[task["id"]] = task

    def compare(self, rows: Sequence[Sequence[Any]]) -> list[str]:
        """What went wrong, and what is not as in these rows of `ALL`."""
        stored = {row[0]: _task(row) for row in rows}
        ids = sorted(stored.keys() | self.tasks.keys())
        listed = [f"{stored[task_id]} was in no answer" for task_id in sorted(self._absent & stored.keys())]
        return (
            self.wrong
            + listed
            + [
                f"stored is {stored.get(task_id)}, and the copy is {self.tasks.get(task_id)}"
                for task_id in ids
                if stored.get(task_id) != self.tasks.get(task_id)
            ]
        )

    def close(self) -> None:
        for client in self._clients:
            client.close()


@asynccontextmanager
async def following(*followers: Follower) -> AsyncIterator[None]:
    """They poll all along during the block, and once more after it."""
    going = True

    async def follow(follower: Follower) -> None:
        with closing(follower):
            while going:
                await follower.catch_up()
                # Those who make the changes have their turn.
                await asyncio.sleep(BETWEEN)
            await follower.catch_up()

    async with asyncio.TaskGroup() as group:
        for follower in followers:
            group.create_task(follow(follower))
        yield
        going = False


def _task(row: Sequence[Any]) -> Task:
    """As the API answers it; SQLite stores moments and dates as text."""
    task_id, title, description, completed, due_date, *moments = row
    return {
        "id": task_id,
        "title": title,
        "description": description,
        "completed": bool(completed),
        "due_date": due_date and str(due_date),
        "created_at": _moment(moments[0]),
        "updated_at": _moment(moments[1]),
    }


def _moment(stored: Any) -> str:
    text = stored if isinstance(stored, str) else stored.isoformat(" ", "microseconds")
    return text[:26].replace(" ", "T") + "Z"
