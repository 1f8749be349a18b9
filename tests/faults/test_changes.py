"""Followers of what changed, while many change the same tasks by processes whose clocks are hours apart."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.conftest import Rows
from tests.faults.client import Answer, Client
from tests.faults.follower import ALL, Acknowledged, Follower, following, missed
from tests.support.backend import backend
from tests.support.tokens import bearer, token_of

ANOTHER_CLOCK = [sys.executable, "-m", "tests.faults.another_clock"]
# Of three processes, in hours; the last one's jumps.
CLOCKS = ["-9", "0", "5 -3"]
SEEDS = [1, 2]
WRITERS, WRITES = 10, 80
KINDS = {"create": 5, "update": 6, "nothing": 2, "complete": 6, "delete": 3, "guarded": 6, "guarded delete": 1}
# Changes of many tasks, which have one time.
KINDS |= {"create many": 2, "complete all": 1, "clear": 1}

Request = tuple[str, str, Any, dict[str, str]]


@contextmanager
def processes(database_url: str) -> Iterator[list[str]]:
    """Their addresses."""
    with ExitStack() as stack:
        settings = {"DATABASE_POOL_SIZE": "4", "LOG_LEVEL": "WARNING"}
        started = [
            backend(database_url, ANOTHER_CLOCK, CLOCK_IS_OFF_BY=clock, **settings)  # type: ignore[arg-type]
            for clock in CLOCKS
        ]
        yield [stack.enter_context(each)[1] for each in started]


class Writer:
    """Changes tasks that others change too, by any of the processes. Some are deleted, and some tags old by then."""

    def __init__(self, apis: Sequence[str], name: str, number: int, acknowledged: Acknowledged) -> None:
        self._acknowledged = acknowledged
        self._clients = [Client(api, bearer(token_of(name))) for api in apis]
        self._random = random.Random(f"{name} {number}")  # noqa: S311 - the same mix in every run
        self._number = number
        self.statuses: Counter[int] = Counter()

    async def write(self, count: int) -> None:
        for turn in range(count):
            method, path, body, headers = self._request(f"{self._number} {turn}")
            answer = await self._random.choice(self._clients).request(method, path, body, **headers)
            self.statuses[answer.status] += 1
            # A machine that is busy enough makes some wait for longer than the deadline.
            assert answer.status in (200, 201, 204, 404, 412, 503), answer
            for task in self._tasks_in(answer):
                self._acknowledged.note(task["id"], task["updated_at"])
            if answer.status in (204, 404):
                self._acknowledged.note(int(path.split("/")[3]), None)

    def _tasks_in(self, answer: Answer) -> list[Any]:
        if answer.status not in (200, 201, 412):
            return []
        found = answer.json()
        if isinstance(found, list):
            return found
        return [] if "count" in found else [found.get("task", found)]

    def _request(self, mark: str) -> Request:
        choose, latest = self._random, self._acknowledged.latest
        kind = choose.choices(list(KINDS), list(KINDS.values()))[0] if latest else "create"
        key = {"Idempotency-Key": mark.replace(" ", "-")} if choose.random() < 0.3 else {}
        if kind == "create":
            return "POST", "/api/tasks", {"title": mark, "due_date": choose.choice([None, "2026-01-31"])}, key
        if kind == "create many":
            return "POST", "/api/tasks", [{"title": f"{mark} {number}"} for number in range(4)], key
        # Of the newest ones mostly, so that many meet on each; some are deleted.
        some = [task_id for task_id, known in latest.items() if known or choose.random() < 0.1] or list(latest)
        task_id = choose.choice(some[-8:] if choose.random() < 0.8 else some)
        path = f"/api/tasks/{task_id}"
        tag = {"If-Match": f'"{latest[task_id] or "gone"}"'}
        return {
            "update": ("PATCH", path, {"title": mark, "description": f"by {mark}"}, key),
            "nothing": ("PUT", path, {}, key),
            "complete": ("PATCH", f"{path}/complete", choose.choice([None, {"completed": True}]), key),
            "delete": ("DELETE", path, None, {}),
            "guarded": ("PUT", path, {"description": mark}, tag | key),
            "complete all": ("PATCH", "/api/tasks", {"completed": choose.choice([True, False])}, key),
            "clear": ("DELETE", "/api/tasks?status=completed", None, {}),
            "guarded delete": ("DELETE", path, None, tag),
        }[kind]

    def close(self) -> None:
        for client in self._clients:
            client.close()


A, B = ({"updated_at": f"2026-01-01T00:00:00.00000{number}Z"} for number in (1, 2))


@pytest.mark.parametrize(
    ("acknowledged", "copy", "gone", "count"),
    [
        ([(1, "A")], {1: A}, set(), 0),
        # Newer than what is known.
        ([(1, "A")], {1: B}, set(), 0),
        ([(1, "B"), (1, "A")], {1: A}, set(), 1),
        ([(1, "A")], {}, set(), 1),
        ([(1, "A")], {}, {1}, 0),
        ([(1, "A"), (1, None)], {}, {1}, 0),
        # An answer of before that arrives later.
        ([(1, None), (1, "A")], {}, set(), 0),
        ([(1, "A"), (1, None), (2, "A")], {1: A, 2: A}, set(), 1),
    ],
)
def test_what_a_copy_has_missed(
    acknowledged: list[tuple[int, str | None]], copy: dict[int, Any], gone: set[int], count: int
) -> None:
    known = Acknowledged()
    for task_id, state in acknowledged:
        known.note(task_id, {"A": A, "B": B}[state]["updated_at"] if state else None)

    assert len(missed(known.latest, copy, gone)) == count


async def race(apis: Sequence[str], name: str) -> tuple[list[Follower], Counter[int]]:
    """The followers, each of which has polled once more after the last change, and the statuses of the changes."""
    known = Acknowledged()
    limits = [(1, False), (3, False), (500, False), (3, True), (500, True)]
    followers = [Follower(apis, name, known, limit, afresh) for limit, afresh in limits]
    with ExitStack() as stack:
        writers = [stack.enter_context(closing(Writer(apis, name, number, known))) for number in range(WRITERS)]
        async with following(*followers):
            await asyncio.gather(*(writer.write(WRITES) for writer in writers))
    return followers, sum((writer.statuses for writer in writers), Counter[int]())


def test_followers_miss_nothing_whatever_the_clocks_say(database_url: str, rows: Rows) -> None:
    with processes(database_url) as apis:
        for seed in SEEDS:
            name = f"seed-{seed}"
            followers, statuses = asyncio.run(race(apis, name))
            stored = rows(ALL.format(name))
            assert [follower.compare(stored)[:3] for follower in followers] == [[]] * len(followers), name
            assert statuses.total() == WRITERS * WRITES
            assert min(statuses[status] for status in (200, 201, 204, 404, 412)) > 5, statuses
            assert min(follower.polls for follower in followers) > 10


def test_who_was_deleted_and_is_back_starts_over(ada: TestClient, rows: Rows) -> None:
    """What went with their row was deleted without a trace."""
    ada.post("/api/tasks", json={"title": "Milk"})
    token = ada.get("/api/changes").json()["token"]
    rows("DELETE FROM users")

    assert ada.get(f"/api/changes?since={token}").status_code == 410
    assert ada.get("/api/changes").json()["tasks"] == []


def test_a_new_clock_is_not_behind_the_tasks(ada: TestClient, rows: Rows) -> None:
    """Of an older version, or of another program, whose clock was ahead."""
    tasks = [ada.post("/api/tasks", json={"title": title}).json() for title in ("Milk", "Tea")]
    rows("UPDATE tasks SET updated_at = '2099-01-01 00:00:00.000001'")
    rows("DELETE FROM change_clocks")
    first = ada.get("/api/changes?limit=1").json()

    changed = ada.patch(f"/api/tasks/{tasks[0]['id']}/complete").json()

    rest = ada.get(f"/api/changes?since={first['token']}").json()
    assert changed["updated_at"] > "2099-01-01T00:00:00.000001Z"
    assert [task["id"] for task in rest["tasks"]] == [tasks[1]["id"], tasks[0]["id"]]
