"""Faults of the app's processes and of what stands around them: kills, stops, poolers, disks, key servers, crowds."""

import asyncio
import os
import re
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path

import httpx2
import psutil  # type: ignore[import-untyped]
import pytest

from tests.conftest import RowsOf, missing
from tests.faults.client import Client
from tests.faults.follower import ALL, Follower, following
from tests.faults.load import STORED, Load
from tests.faults.processes import family, resident, workers
from tests.support.backend import ROOT, SERVE, backend, listening
from tests.support.processes import Process, serve
from tests.support.proxy import free_port
from tests.support.servers import PgBouncer, Postgres
from tests.support.tokens import SECRET, SigningKey, bearer, claims, key_server, token_of
from tests.support.waiting import until

END_CONNECTIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"


# The limits of those who follow what changes, by whose tasks they are.
FOLLOWED = {"person0": 1, "person1": 3, "person2": 500}


def replaced(whole: Sequence[psutil.Process]) -> bool:
    """Whether another worker is there instead of the last one of this family."""
    now = family(whole[0].pid)
    return len(now) == len(whole) and whole[-1] not in now


def test_a_worker_that_is_killed_loses_nothing_acknowledged(mortal: Postgres, database: str) -> None:
    async def story(api: str, process: Process) -> Load:
        load = Load(api)
        followers.extend(Follower([api], name, limit=limit) for name, limit in FOLLOWED.items())
        async with following(*followers), load.running():
            for _ in range(3):
                await load.more(200)
                # The last two are the workers; before them comes multiprocessing's own.
                whole = family(process.pid)
                os.kill(whole[-1].pid, signal.SIGKILL)
                await load.more(200)
                # Its absence is noticed after some seconds, which the others need not fill.
                await load.pause()
                await until(lambda: replaced(whole))  # noqa: B023 - awaited here
                load.going.set()
        return load

    followers: list[Follower] = []
    with workers(mortal.url(database)) as (process, api):
        load = asyncio.run(story(api, process))
    # At most those that the killed worker had at hand.
    assert {outcome.status for outcome in load.failed()} <= {None}
    assert load.compare(mortal.execute(database, STORED)) == []
    for name, follower in zip(FOLLOWED, followers, strict=True):
        assert follower.compare(mortal.execute(database, ALL.format(name))) == []


def test_what_is_sent_until_it_is_answered_has_its_effect_once(mortal: Postgres, database: str) -> None:
    """Creates and toggles, while workers are killed and the connections to the database are cut."""

    async def persist(client: httpx2.AsyncClient, method: str, path: str, key: str, body: object = None) -> object:
        while True:
            try:
                answer = await client.request(method, path, json=body, headers={"Idempotency-Key": key})
            except httpx2.TransportError:
                continue
            if answer.status_code != 503:
                assert answer.status_code < 300, answer.text
                return answer.json()["id"]

    async def lives(client: httpx2.AsyncClient, who: int) -> None:
        for number in range(40):
            key = f"{who}-{number}"
            id_ = await persist(client, "POST", "/api/tasks", f"create-{key}", {"title": key})
            for turn in range(3):
                await persist(client, "PATCH", f"/api/tasks/{id_}/complete", f"toggle-{key}-{turn}")

    async def story(api: str, pid: int) -> None:
        headers = bearer(token_of("ada"))
        async with httpx2.AsyncClient(base_url=api, headers=headers, timeout=30) as client:
            followers.extend(Follower([api], "ada", limit=limit) for limit in FOLLOWED.values())
            async with following(*followers), asyncio.TaskGroup() as people:
                for who in range(8):
                    people.create_task(lives(client, who))
                for turn in range(6):
                    await asyncio.sleep(0.2)
                    if turn == 3:
                        os.kill(family(pid)[-1].pid, signal.SIGKILL)
                    mortal.execute("postgres", END_CONNECTIONS.format(database))

    followers: list[Follower] = []
    with workers(mortal.url(database)) as (process, api):
        asyncio.run(story(api, process.pid))
    stored = mortal.execute(database, ALL.format("ada"))
    assert [follower.compare(stored) for follower in followers] == [[]] * 3
    assert mortal.execute(database, "SELECT count(*), count(DISTINCT title), every(completed) FROM tasks") == [
        (320, 320, True)
    ]


def test_a_stop_cuts_no_request_off(mortal: Postgres, database: str) -> None:
    """Whatever the log says was answered has reached its client whole; what never began has changed nothing."""

    async def story(api: str, pid: int) -> Load:
        load = Load(api, Connection="close")
        async with load.running():
            await load.more(300)
            os.kill(pid, signal.SIGTERM)
            await until(lambda: len(load.failed()) >= 64)
        return load

    with workers(mortal.url(database), LOG_LEVEL="INFO") as (process, api):
        load = asyncio.run(story(api, process.pid))
        assert process.terminate() == 0
        logged = re.findall(r" (\d+) [\d.]+ms request_id=(person\S+)", process.output())
    answered = {outcome.request_id: outcome.status for outcome in load.outcomes if outcome.status}
    assert {request_id: int(status) for status, request_id in logged} == answered
    assert {outcome.status for outcome in load.failed()} == {None}
    assert load.compare(mortal.execute(database, STORED)) == []


@pytest.fixture
def bouncer(mortal: Postgres) -> Iterator[PgBouncer]:
    if not PgBouncer.available():
        missing("pgbouncer")
    with PgBouncer(mortal) as bouncer:
        yield bouncer


def test_a_pooler_that_is_too_small_and_restarts(mortal: Postgres, database: str, bouncer: PgBouncer) -> None:
    """Five connections serve two workers of eight; killed and started again, it costs 503s at most."""

    async def story(api: str) -> Load:
        load = Load(api)
        async with load.running():
            await load.more(300)
            assert load.failed() == []
            for _ in range(2):
                await asyncio.to_thread(bouncer.restart)
                await load.more(300)
        return load

    with workers(bouncer.url(database), DATABASE_POOL_SIZE="8") as (_, api):
        load = asyncio.run(story(api))
    assert {outcome.status for outcome in load.failed()} == {503}
    assert load.compare(mortal.execute(database, STORED)) == []


def test_a_full_disk_is_a_503_and_leaves_nothing_half_written(tmp_path: Path, rows_of: RowsOf) -> None:
    """Full as far as this process goes: the system lets none of its files grow."""
    path = tmp_path / "todo.db"

    async def story(api: str, pid: int) -> Load:
        load = Load(api, people=8)
        async with load.running():
            await load.more(100)
            limit = max(each.stat().st_size for each in tmp_path.iterdir())
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            await until(lambda: len(load.failed()) >= 50)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await load.more(100)
        return load

    with backend(f"sqlite:///{path}", LOG_LEVEL="ERROR") as (process, api):
        load = asyncio.run(story(api, process.pid))
    assert load.lost == []
    assert {outcome.status for outcome in load.failed()} == {503}
    assert load.compare(rows_of(f"sqlite:///{path}", STORED)) == []
    assert rows_of(f"sqlite:///{path}", "PRAGMA integrity_check") == [("ok",)]


# Without this privilege, root too may only read a file that says so.
POWERLESS = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []


def test_a_file_that_may_only_be_read_serves_reads(tmp_path: Path) -> None:
    path, port = tmp_path / "todo.db", free_port()
    command = [*POWERLESS, *SERVE]
    environment = {"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": f"sqlite:///{path}", **listening(port)}
    api = f"http://127.0.0.1:{port}"

    def ask() -> list[int]:
        with httpx2.Client(base_url=api, headers=bearer(token_of("ada"))) as client:
            answers = [client.get("/api/tasks"), client.post("/api/tasks", json={"title": "Milk"})]
            return [answer.status_code for answer in answers] + [len(client.get("/api/tasks").json())]

    with serve(command, environment, f"{api}/health", cwd=ROOT):
        assert ask() == [200, 201, 1]
    path.chmod(0o444)
    with serve(command, environment, f"{api}/health", cwd=ROOT) as process:
        assert ask() == [200, 503, 1]
        assert "Traceback" not in process.output()


@pytest.mark.parametrize("fault", ["hangs", "trickles", "is down", "talks nonsense"])
def test_a_bad_key_server_holds_nobody_else(mortal: Postgres, database: str, fault: str) -> None:
    """64 people come with keys that only it knows; 32 others go on meanwhile."""

    async def story(api: str, pid: int) -> Load:
        load, tokens = Load(api), [SigningKey("EdDSA", f"key {n}").sign(claims()) for n in range(64)]
        async with AsyncExitStack() as stack:
            clients = [stack.enter_context(closing(Client(api, bearer(token)))) for token in tokens]
            await stack.enter_async_context(load.running())
            await load.more(100)
            threads = family(pid)[0].num_threads()
            strangers = asyncio.gather(*(client.request("GET", "/api/tasks") for client in clients))
            await load.more(500)
            # They wait, and nobody with them.
            assert fault not in ("hangs", "trickles") or not strangers.done()
            # One that asks, and one that watches the time.
            assert family(pid)[0].num_threads() <= threads + 2
            assert {answer.status for answer in await strangers} == {503}
            await load.more(100)
            assert family(pid)[0].num_threads() <= threads + 1
        return load

    with key_server() as keys:
        if fault == "hangs":
            keys.hold()
        elif fault == "trickles":
            keys.trickles = "body"
        elif fault == "talks nonsense":
            keys.body = b'{"keys": [{"kty": '
        url = keys.url if fault != "is down" else f"http://127.0.0.1:{free_port()}/jwks"
        with backend(mortal.url(database), JWKS_URL=url, LOG_LEVEL="ERROR") as (process, api):
            load = asyncio.run(story(api, process.pid))
        assert keys.requests == (0 if fault == "is down" else 1)
    assert load.failed() == []
    assert load.compare(mortal.execute(database, STORED)) == []


HALF_A_HEAD = b"GET /api/tasks HTTP/1.1\r\nHost: x\r\nAuthoriz"
HALF_A_BODY = b"POST /api/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n%s\r\n" + b"x" * 50_000
READS_NOTHING = b"GET /api/tasks HTTP/1.1\r\nHost: x\r\n%s\r\n" * 3
CROWD = [b""] * 300 + [HALF_A_HEAD] * 300 + [HALF_A_BODY] * 300 + [READS_NOTHING] * 100


def test_a_crowd_of_bad_clients_does_not_starve_good_ones(mortal: Postgres, database: str) -> None:
    """A thousand connections that say half of what they should, or leave a long list lying, and two to the database."""
    authorization = bearer(token_of("crowd"))
    line = f"Authorization: {authorization['Authorization']}\r\n".encode()

    async def story(api: str, pid: int) -> tuple[Load, float, float]:
        load = Load(api)
        host, port = api.removeprefix("http://").split(":")

        async def rate() -> float:
            before, start = load.good, time.monotonic()
            await asyncio.sleep(1.5)
            return (load.good - before) / (time.monotonic() - start)

        with closing(Client(api, authorization)) as client:
            for _ in range(100):
                await client.request("POST", "/api/tasks", {"title": "x", "description": "x" * 1000})
        async with load.running():
            await load.more(300)
            alone, memory = await rate(), resident(pid)
            writers = [(await asyncio.open_connection(host, int(port)))[1] for _ in CROWD]
            for writer, what in zip(writers, CROWD, strict=True):
                writer.write(what.replace(b"%s", line))
            crowded = max([await rate(), await rate(), await rate()])
            memory = resident(pid) - memory
            for writer in writers:
                writer.transport.abort()
            alone = min(alone, await rate())
        return load, crowded / alone, memory

    with backend(mortal.url(database), DATABASE_POOL_SIZE="2", LOG_LEVEL="ERROR") as (process, api):
        load, share, memory = asyncio.run(story(api, process.pid))
    assert load.failed() == []
    assert share >= 0.5
    assert memory < 64 * 2**20
    owner = "SELECT user_id, id, title, description, completed FROM tasks WHERE user_id <> 'crowd'"
    assert load.compare(mortal.execute(database, owner)) == []
