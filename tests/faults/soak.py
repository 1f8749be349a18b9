"""`scripts/soak`: many minutes of load with one fault after the other, and every answer compared."""

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from database import DEADLINE
from tests.faults.load import STORED, WRITES, Load, until
from tests.faults.processes import KILL, family, freeze, resident, workers
from tests.support.proxy import Proxy
from tests.support.servers import Postgres

# Seconds between two faults.
CALM = 3.0

Fault = Callable[[], Awaitable[None]]


def faults(server: Postgres, database: str, proxy: Proxy, pid: int) -> dict[str, Fault]:
    async def connections_killed() -> None:
        await asyncio.to_thread(server.execute, database, KILL)

    async def server_stopped() -> None:
        await asyncio.to_thread(server.halt)
        await asyncio.sleep(2)
        await asyncio.to_thread(server.resume)

    async def server_frozen() -> None:
        go_on = freeze(server.pid)
        await asyncio.sleep(DEADLINE + 1)
        go_on()

    async def network_silent() -> None:
        proxy.freeze()
        await asyncio.sleep(DEADLINE + 1)
        proxy.thaw()

    async def network_cut() -> None:
        proxy.cut()

    async def worker_killed() -> None:
        os.kill(family(pid)[-1].pid, signal.SIGKILL)

    return {
        fault.__name__.replace("_", " "): fault
        for fault in (connections_killed, server_stopped, server_frozen, network_silent, network_cut, worker_killed)
    }


async def soak(api: str, injectable: dict[str, Fault], seconds: float) -> tuple[Load, Counter[str]]:
    load, injected = Load(api), Counter[str]()
    end = time.monotonic() + seconds
    async with load.running():
        while time.monotonic() < end:
            await load.more(100)
            await asyncio.sleep(CALM)
            name = random.choice(list(injectable))  # noqa: S311 - which fault comes next is no secret
            await injectable[name]()
            injected[name] += 1
            before = load.good
            await until(lambda before=before: load.good > before)  # type: ignore[misc]
    return load, injected


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=10.0)
    seconds = parser.parse_args().minutes * 60
    with Postgres() as server, Proxy(server.port) as proxy:
        database = server.create_database()
        with workers(proxy.url(database), LOG_LEVEL="ERROR") as (process, api):
            memory = resident(process.pid)
            load, injected = asyncio.run(soak(api, faults(server, database, proxy, process.pid), seconds))
            grown = resident(process.pid) - memory
        wrong = load.compare(server.execute(database, STORED))
    late = [outcome for outcome in load.failed() if outcome.late]
    reads = [outcome for outcome in load.failed() if outcome.operation not in WRITES]
    print(f"{len(load.outcomes):,} requests, {len(load.failed()):,} failed ({len(reads):,} of them reads)")
    for fault, count in injected.most_common():
        print(f"{count:6,} times {fault}")
    for status, count in Counter(outcome.status for outcome in load.outcomes).most_common():
        print(f"{count:10,} answered {status or 'nothing: their worker was killed'}")
    print(f"{grown / 2**20:.0f} MiB more memory; {len(late)} answers after the deadline; {len(wrong)} wrong or lost")
    sys.exit("\n".join(wrong) or bool(late))


if __name__ == "__main__":
    main()
