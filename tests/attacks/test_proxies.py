"""Behind real proxies that share connections to the backend, nobody gets an answer that is meant for somebody else.

What a proxy takes for the body of a stranger's request must not be a request for the backend.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.attacks.proxies import haproxy, nginx
from tests.attacks.sequences import UPGRADES, by_length, get, in_chunks
from tests.attacks.wire import answers, read_one, request, talk
from tests.support.backend import backend
from tests.support.tokens import token_of

VICTIMS, STRANGERS, MEMBERS = 8, 6, 2
# How often each attacker tries everything, and how many requests there are in all, of each of two proxies: at least.
PASSES, REQUESTS = 2, 5000

Proxy = Callable[[Path, str], AbstractContextManager[str]]


def authorization(person: str) -> str:
    return f"Authorization: Bearer {token_of(person)}"


def attacks(person: str | None) -> list[bytes]:
    """Requests to `/health` with another one in the body: a whole one, or the head of one that takes in what follows.

    nginx sends a large body, of empty lines here, apart from the head.
    """
    token = f"{authorization(person)}\r\n".encode() if person else b""
    whole = get(b"/api/tasks", token)
    hidden = [whole, whole[:-2] + b"X: ", b"\r\n" * 20_000 + whole, b"\r\n" * 20_000 + whole[:-2] + b"X: "]
    return [
        send(b"/health", body, upgrade).replace(b"POST", b"GET", 1)
        for upgrade in UPGRADES.values()
        for body in hidden
        for send in (by_length, in_chunks)
    ]


class Crowd:
    """Everybody behind one proxy. `wrong` is what somebody got and should not have."""

    def __init__(self, address: str, lists: dict[str, bytes]) -> None:
        self.host, self.port = urlsplit(address).hostname, urlsplit(address).port
        self.lists = lists
        self.requests = 0
        self.wrong: list[tuple[str, bytes]] = []
        self.done = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            attackers = [group.create_task(self.attack(f"stranger {n}", attacks(None))) for n in range(STRANGERS)]
            for number in range(MEMBERS):
                member = f"member-{number}"
                attackers.append(group.create_task(self.attack(member, attacks(member))))
            victims = [group.create_task(self.read(victim)) for victim in self.lists]
            await asyncio.gather(*attackers)
            self.done.set()
            await asyncio.gather(*victims)

    async def read(self, victim: str) -> None:
        """A victim asks for their list until the attackers are done, and often enough, on a connection that is kept."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        asked = request("GET", "/api/tasks", authorization(victim), close=False)
        while self.requests < REQUESTS or not self.done.is_set():
            writer.write(asked)
            answer = await read_one(reader)
            self.requests += 1
            if not answer.endswith(b"\r\n\r\n" + self.lists[victim]):
                self.wrong.append((victim, answer))
                writer.close()
                reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.close()

    async def attack(self, name: str, sent: list[bytes]) -> None:
        """One attack after the other, each on a connection of its own, with a harmless request behind it."""
        for attack in sent * PASSES:
            reader, writer = await asyncio.open_connection(self.host, self.port)
            # A proxy may refuse, and close before it has read everything.
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                for harmless in (attack, get(b"/health")):
                    writer.write(harmless)
                    answer = await read_one(reader)
                    self.requests += 1
                    if any(tasks in answer for tasks in self.lists.values()):
                        self.wrong.append((name, answer))
            writer.close()


@pytest.mark.parametrize("proxy", [nginx, haproxy])
def test_nobody_gets_what_is_somebody_elses(tmp_path: Path, proxy: Proxy) -> None:
    lists: dict[str, bytes] = {}
    with backend(f"sqlite:///{tmp_path}/todo.db", LOG_LEVEL="ERROR") as (process, address):
        for number in range(VICTIMS):
            victim = f"victim-{number}"
            body = json.dumps({"title": f"Of {victim}"}).encode()
            talk(address, request("POST", "/api/tasks", authorization(victim), body=body))
            (answer,) = answers(talk(address, request("GET", "/api/tasks", authorization(victim))))
            lists[victim] = answer.body
        with proxy(tmp_path, address) as public:
            crowd = Crowd(public, lists)
            asyncio.run(crowd.run())
        assert "Traceback" not in process.output()
    assert crowd.wrong == []
    assert crowd.requests >= REQUESTS
