"""Many at once on the same rows, with several workers: every answer is explained by some order of what happened."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import pytest

from tests.conftest import Rows
from tests.faults.client import Client
from tests.faults.history import Event, State, explained
from tests.faults.load import request_for
from tests.faults.processes import workers
from tests.support.tokens import bearer, token_of

MILK: State = ("Milk", False)


@pytest.mark.parametrize(
    ("events", "right"),
    [
        ([Event("toggle", 0, 2, state=("Milk", True)), Event("toggle", 1, 3, state=("Milk", False))], True),
        # A lost update.
        ([Event("toggle", 0, 2, state=("Milk", True)), Event("toggle", 1, 3, state=("Milk", True))], False),
        ([Event("delete", 0, 1, deleted=True), Event("get", 2, 3)], True),
        # Back from the dead.
        ([Event("delete", 0, 1, deleted=True), Event("get", 2, 3, state=MILK)], False),
        ([Event("delete", 0, 4, deleted=True), Event("get", 2, 3, state=MILK)], True),
        ([Event("delete", 0, 3, deleted=True), Event("delete", 1, 2, deleted=True)], False),
        # Half an update.
        ([Event("update", 0, 1, title="Tea", state=("Tea", False)), Event("get", 2, 3, state=MILK)], False),
        ([Event("update", 0, 1, title="Tea", answered=False), Event("get", 2, 3, state=("Tea", False))], True),
        ([Event("update", 0, 1, title="Tea", answered=False), Event("get", 2, 3, state=MILK)], True),
    ],
)
def test_what_one_order_explains(events: list[Event], right: bool) -> None:
    assert explained(events, MILK) == right


class Rivals:
    """Several connections of one person, at the same tasks at the same time."""

    def __init__(self, api: str) -> None:
        self.api = api
        self.histories: dict[int, list[Event]] = {}
        self.count = 0

    async def compete(self, name: str, task_ids: list[int], operations: int) -> None:
        choice = random.Random(name)  # noqa: S311 - the same mix in every run
        with closing(Client(self.api, bearer(token_of("ada")))) as client:
            for number in range(operations):
                task_id = choice.choice(task_ids)
                operation = choice.choices(["toggle", "update", "get", "delete"], [10, 6, 6, 1])[0]
                title = f"{name} {number}"
                begin = time.monotonic()
                answer = await client.request(*request_for(operation, {"id": task_id}, title))
                end = time.monotonic()
                assert answer.status in (200, 204, 404), answer
                found = answer.json() if answer.status == 200 else None
                state = (found["title"], found["completed"]) if found else None
                event = Event(operation, begin, end, title, state, answer.status == 204)
                self.histories[task_id].append(event)
                self.count += 1


def test_thousands_of_operations_on_shared_tasks_are_explained(database_url: str, rows: Rows) -> None:
    """16 connections at 40 tasks; toggles are counted, updates are whole, and what is deleted stays so."""

    async def story(api: str) -> Rivals:
        rivals = Rivals(api)
        with closing(Client(api, bearer(token_of("ada")))) as client:
            for _ in range(40):
                task = (await client.request("POST", "/api/tasks", {"title": "Milk"})).json()
                rivals.histories[task["id"]] = []
        tasks = list(rivals.histories)
        # Five at a time, so that many meet on each.
        for some in [tasks[start : start + 5] for start in range(0, 40, 5)]:
            await asyncio.gather(*(rivals.compete(f"rival{n}-{some[0]}", some, 25) for n in range(16)))
        return rivals

    with workers(database_url) as (_, api):
        rivals = asyncio.run(story(api))
    assert rivals.count == 3200
    stored = {row[0]: (row[1], bool(row[2])) for row in rows("SELECT id, title, completed FROM tasks")}
    end = time.monotonic()
    for task_id, events in rivals.histories.items():
        last = Event("get", end, end, state=stored.get(task_id))
        assert explained([*events, last], MILK), f"task {task_id}: {events}"
    # Deleted ones are among them, and others that lived on.
    assert 0 < len(stored) < 40


def test_ten_times_fifty_first_calls_make_one_row(database_url: str, rows: Rows) -> None:
    async def first_calls(api: str, name: str) -> set[int]:
        with ExitStack() as stack:
            clients = [stack.enter_context(closing(Client(api, bearer(token_of(name))))) for _ in range(50)]
            calls = [client.request("POST", "/api/tasks", {"title": "First"}) for client in clients]
            return {answer.status for answer in await asyncio.gather(*calls)}

    with workers(database_url, 4) as (_, api):
        for number in range(10):
            assert asyncio.run(first_calls(api, f"newcomer{number}")) == {201}
    assert rows("SELECT count(*), count(DISTINCT email) FROM users") == [(10, 10)]
    assert rows("SELECT count(*) FROM tasks") == [(500,)]


def test_two_people_swap_their_emails_at_once(database_url: str, rows: Rows) -> None:
    """No error, nobody is merged, and no task changes hands."""
    people = ["ada", "bob"]
    emails = ["one@example.com", "two@example.com"]

    async def swap(api: str) -> None:
        with ExitStack() as stack:
            for turn in range(30):
                calls = []
                for index, name in enumerate(people):
                    token = token_of(name, email=emails[(index + turn) % 2], name=f"{name} {turn}")
                    for _ in range(4):
                        client = stack.enter_context(closing(Client(api, bearer(token))))
                        calls.append(client.request("POST", "/api/tasks", {"title": name}))
                assert {answer.status for answer in await asyncio.gather(*calls)} == {201}

    with workers(database_url) as (_, api):
        asyncio.run(swap(api))
    assert rows("SELECT user_id, title, count(*) FROM tasks GROUP BY 1, 2 ORDER BY 1") == [
        ("ada", "ada", 120),
        ("bob", "bob", 120),
    ]
    kept = rows("SELECT id, email FROM users ORDER BY id")
    assert [row[0] for row in kept] == people
    assert {row[1] for row in kept} <= {*emails, None}


def test_no_task_that_stands_is_missed_or_doubled_by_paging(database_url: str) -> None:
    """While others are added, changed and removed by other workers."""

    async def churn(api: str, going: Callable[[], bool]) -> None:
        with closing(Client(api, bearer(token_of("ada")))) as client:
            while going():
                task = (await client.request("POST", "/api/tasks", {"title": "passing"})).json()
                await client.request("PATCH", f"/api/tasks/{task['id']}/complete")
                await client.request("DELETE", f"/api/tasks/{task['id']}")

    async def story(api: str) -> None:
        reading = True
        with closing(Client(api, bearer(token_of("ada")))) as client:
            standing = [
                (await client.request("POST", "/api/tasks", {"title": f"Standing {n}"})).json()["id"]
                for n in range(120)
            ]
            others = [asyncio.create_task(churn(api, lambda: reading)) for _ in range(8)]
            for sort in ["created", "title", "due_date"] * 3:
                seen, path = [], f"/api/tasks?limit=7&sort={sort}"
                while path:
                    answer = await client.request("GET", path)
                    seen += [task["id"] for task in answer.json()]
                    path = answer.headers.get("link", "<>").partition("<")[2].partition(">")[0]
                assert sorted(set(seen) & set(standing)) == standing
                assert len([task for task in seen if task in standing]) == 120
            reading = False
            await asyncio.gather(*others)

    with workers(database_url) as (_, api):
        asyncio.run(story(api))


def test_what_is_sent_four_times_at_once_has_its_effect_once(database_url: str, rows: Rows) -> None:
    """By workers that know nothing of each other."""

    async def story(api: str) -> None:
        with ExitStack() as stack:
            for number in range(30):
                headers = {**bearer(token_of("ada")), "Idempotency-Key": f"create-{number}"}
                clients = [stack.enter_context(closing(Client(api, headers))) for _ in range(4)]
                calls = [client.request("POST", "/api/tasks", {"title": "Milk"}) for client in clients]
                made = [(answer.status, answer.json()) for answer in await asyncio.gather(*calls)]
                assert made == [(201, made[0][1])] * 4
                headers["Idempotency-Key"] = f"toggle-{number}"
                clients = [stack.enter_context(closing(Client(api, headers))) for _ in range(4)]
                calls = [client.request("PATCH", f"/api/tasks/{made[0][1]['id']}/complete") for client in clients]
                assert {answer.json()["completed"] for answer in await asyncio.gather(*calls)} == {True}

    with workers(database_url, 4) as (_, api):
        asyncio.run(story(api))
    assert rows("SELECT count(*) FROM tasks") == rows("SELECT count(*) FROM tasks WHERE completed") == [(30,)]
