"""200 people at once, on connections to the server and to the database that they share: everybody sees their own."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.attacks.live import Live, live
from tests.attacks.wire import Answer, answers, read_one, request
from tests.support.servers import Postgres

PEOPLE, HOARDERS, CONNECTIONS, POOL = 200, 4, 24, 3
# More than the app has in memory at once, so that a list goes out in pieces.
HOARD = 400
MARK = re.compile(rb"person-\d{3}")
HOARDS = f"""
    INSERT INTO tasks (user_id, title, created_at, updated_at)
    SELECT 'person-' || lpad(person::text, 3, '0'), 'Hoard of person-' || lpad(person::text, 3, '0'), now(), now()
    FROM generate_series(0, {HOARDERS - 1}) person, generate_series(1, {HOARD})
"""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module", params=["DEBUG", "INFO"])
def crowded(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[tuple[Live, str]]:
    """A backend with few connections to its database, and that database."""
    name = postgres.create_database()
    with live(postgres.url(name), request.param, pool_size=POOL) as crowded:
        yield crowded, name
    postgres.drop_database(name)


class Crowd:
    """Keep-alive connections, each of which is whoever's turn it is."""

    def __init__(self, attacked: Live) -> None:
        self.attacked = attacked
        self.order = random.Random(2026)  # noqa: S311 - the same crowd each time
        self.idle: asyncio.Queue[Connection] = asyncio.Queue()
        self.answered = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Crowd"]:
        parts = urlsplit(self.attacked.address)
        opened = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(CONNECTIONS)]
        for connection in opened:
            self.idle.put_nowait(connection)
        yield self
        for _, writer in opened:
            writer.close()
            await writer.wait_closed()

    async def send(self, *requests: bytes) -> list[Answer]:
        """On the next free connection, one behind the other without waiting."""
        reader, writer = await self.idle.get()
        writer.write(b"".join(requests))
        found = [answers(await read_one(reader))[0] for _ in requests]
        self.answered += len(found)
        self.idle.put_nowait((reader, writer))
        return found

    def ask(self, person: str, method: str, target: str, body: Any = None) -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        return request(method, target, self.attacked.authorization(person), body=content, close=False)


class Person:
    """Somebody who makes two tasks, changes one, deletes the other, and tries to get at those of others."""

    def __init__(self, crowd: Crowd, number: int, ids: dict[str, list[int]]) -> None:
        self.crowd, self.ids = crowd, ids
        self.name = f"person-{number:03}"
        self.hoard = HOARD if number < HOARDERS else 0

    async def call(self, status: int, method: str, target: str, body: Any = None) -> Any:
        (answer,) = await self.crowd.send(self.crowd.ask(self.name, method, target, body))
        received = b"".join(value for _, value in answer.headers) + answer.body
        assert answer.status == status, (self.name, method, target, answer)
        assert set(MARK.findall(received)) <= {self.name.encode()}
        return json.loads(answer.body) if answer.body else None

    async def spend_a_day(self) -> None:
        for turn in range(2):
            await self.create(turn)
        mine, other = (f"/api/tasks/{task_id}" for task_id in self.ids[self.name])
        await asyncio.gather(self.change(mine), self.try_others())
        listed = await self.call(200, "GET", "/api/tasks")
        assert len(listed) == self.hoard + 2
        assert {self.name} == {mark.decode() for mark in MARK.findall(json.dumps(listed).encode())}
        await self.call(204, "DELETE", other)
        assert len(await self.call(200, "GET", "/api/tasks")) == self.hoard + 1

    async def create(self, turn: int) -> None:
        task = {"title": f"Task {turn} of {self.name}", "description": f"For {self.name} alone", "completed": False}
        created = await self.call(201, "POST", "/api/tasks", task)
        assert {name: created[name] for name in task} == task
        self.ids[self.name].append(created["id"])

    async def change(self, mine: str) -> None:
        changed = await self.call(200, "PUT", mine, {"title": f"Changed by {self.name}"})
        assert (changed["title"], changed["description"]) == (f"Changed by {self.name}", f"For {self.name} alone")
        assert (await self.call(200, "PATCH", f"{mine}/complete"))["completed"] is True
        assert (await self.call(200, "GET", mine))["title"] == f"Changed by {self.name}"
        completed = await self.call(200, "GET", "/api/tasks?status=completed")
        assert [f"/api/tasks/{task['id']}" for task in completed] == [mine]

    async def try_others(self) -> None:
        order = self.crowd.order
        made = [task_id for name, ids in self.ids.items() if name != self.name for task_id in ids]
        theirs = f"/api/tasks/{order.choice(made or [0])}"
        taken = {"title": f"Taken by {self.name}"}
        calls: list[tuple[str, str, Any]] = [("GET", theirs, None), ("PUT", theirs, taken), ("PUT", theirs, {})]
        calls += [("PATCH", theirs, taken), ("PATCH", f"{theirs}/complete", None), ("DELETE", theirs, None)]
        for method, target, body in order.sample(calls, len(calls)):
            assert await self.call(404, method, target, body) == {"detail": "There is no such task."}


async def live_together(crowd: Crowd) -> None:
    people = crowd.order.sample(range(PEOPLE), PEOPLE)
    ids: dict[str, list[int]] = {f"person-{number:03}": [] for number in people}
    async with crowd.open(), asyncio.timeout(60):
        await asyncio.gather(*(Person(crowd, number, ids).spend_a_day() for number in people))


def test_everybody_sees_their_own_alone(crowded: tuple[Live, str], postgres: Postgres) -> None:
    attacked, database = crowded
    crowd = Crowd(attacked)
    for number in range(HOARDERS):
        attacked.call(f"person-{number:03}", "GET", "/api/tasks")
    postgres.execute(database, HOARDS)

    asyncio.run(live_together(crowd))

    owners = "SELECT count(*) FROM tasks WHERE title NOT LIKE '%' || user_id AND user_id <> 'bystander'"
    assert postgres.execute(database, owners) == [(0,)]
    assert postgres.execute(database, "SELECT count(*) FROM tasks") == [(PEOPLE + HOARDERS * HOARD + 1,)]
    assert crowd.answered == PEOPLE * 15
    attacked.titles |= {"Hoard of person-", "Task 0 of", "Task 1 of", "Changed by", "alone", "Taken by"}


def test_answers_on_one_connection_come_in_the_order_of_their_people(crowded: tuple[Live, str]) -> None:
    """As a proxy sends them that does not wait: a slow list of one person's, a quick answer to the next one."""
    attacked, _ = crowded
    crowd = Crowd(attacked)
    people = [f"person-{number:03}" for number in (0, 150, 1, 160, 0, 170, 2, 180)]

    async def pipeline() -> list[Answer]:
        async with crowd.open(), asyncio.timeout(30):
            for person in people:
                await crowd.send(crowd.ask(person, "POST", "/api/tasks", {"title": f"Note of {person}"}))
            return await crowd.send(*(crowd.ask(person, "GET", "/api/tasks") for person in people))

    found = asyncio.run(pipeline())

    assert [set(MARK.findall(answer.body)) for answer in found] == [{person.encode()} for person in people]
