"""Requests per second, latencies and CPU of all contestants, alternating in rounds."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from bench.agreement import check_agreement
from bench.contestants import OURS, SQLMODEL, Contestant
from bench.load import Load, measure
from bench.operations import OPERATIONS
from bench.results import note
from bench.stage import Stage, stage, stage_on_sqlite

CONNECTIONS = (16, 128)


@dataclass(frozen=True)
class Plan:
    """What the command line asks for."""

    contestants: Sequence[Contestant]
    rounds: int
    seconds: float
    tasks: int
    people: int = 10_000_000
    seed: int = 1


def throughput(plan: Plan) -> list[dict[str, Any]]:
    return _on_postgresql(plan, CONNECTIONS)


def cpu(plan: Plan) -> list[dict[str, Any]]:
    """The same at 16 connections only; every sample has the CPU seconds in it."""
    return _on_postgresql(plan, CONNECTIONS[:1])


def _on_postgresql(plan: Plan, connections: Sequence[int]) -> list[dict[str, Any]]:
    """One dictionary for each round, operation, number of connections and contestant."""
    with stage(plan.contestants) as scene:
        return _sample(scene, plan, connections)


def sqlite(plan: Plan) -> list[dict[str, Any]]:
    """The same at 16 connections, of the pair that also runs on SQLite, each with a file of its own."""
    with stage_on_sqlite([OURS, SQLMODEL]) as scene:
        return _sample(scene, plan, CONNECTIONS[:1])


def _sample(scene: Stage, plan: Plan, connections: Sequence[int]) -> list[dict[str, Any]]:
    check_agreement(scene)
    warm_up(scene, plan.seconds)
    return list(rounds(scene, plan, connections))


def warm_up(scene: Stage, seconds: float) -> None:
    """Connections are open, statements prepared and just-in-time compilers done before a clock runs."""
    for server in scene.servers:
        note(f"warming up {server.name}")
        for operation in OPERATIONS:
            measure(server, scene.files[operation], CONNECTIONS[0], min(seconds, 2))


def rounds(scene: Stage, plan: Plan, connections: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The contestants take each measurement one after the other, and each round another one begins."""
    for number in range(plan.rounds):
        first = number % len(scene.servers)
        order = [*scene.servers[first:], *scene.servers[:first]]
        for operation, clients in product(OPERATIONS, connections):
            note(f"round {number + 1} of {plan.rounds}: {operation}, {clients} connections")
            for server in order:
                scene.restore(server)
                load = measure(server, scene.files[operation], clients, plan.seconds)
                yield _figures(number, server.name, operation, clients, load)


def _figures(number: int, name: str, operation: str, connections: int, load: Load) -> dict[str, Any]:
    where = {"round": number, "contestant": name, "operation": operation, "connections": connections}
    return {**where, **asdict(load)}
