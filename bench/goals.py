"""The figures to reach, and what was reached beside each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.contestants import OURS, SQLMODEL, TITLES
from bench.operations import OPERATIONS
from bench.results import Samples, middle, names_in, ratio

# Requests per second, ours divided by theirs.
THROUGHPUT: dict[str, dict[str, float]] = {
    "fastapi_sqlmodel": {"list": 5, "get": 6, "create": 8, "update": 8, "toggle": 10},
    "fastapi_asyncpg": dict.fromkeys(OPERATIONS, 4),
    "starlette_asyncpg": {**dict.fromkeys(OPERATIONS, 0.9), "list": 1},
    "express_pg": dict.fromkeys(OPERATIONS, 1.5),
    "fastify_pg": {"list": 0.5, "get": 0.35, "create": 0.5, "toggle": 1},
}
# The same for the pair that also runs on SQLite.
ON_SQLITE = {"list": 8, "get": 8, "create": 8, "toggle": 8}
SPREAD = 3  # p99 / p50 at 16 connections
ROUND_TRIPS = 1.25
GROWTH = 1.3
MEBIBYTES = 64
DISTURBANCE = 3
ORDERED = 3


@dataclass(frozen=True)
class Goal:
    """`worst` decides; `reached` may show more than it."""

    what: str
    least: float | None
    most: float | None
    worst: float
    reached: str

    @property
    def wanted(self) -> str:
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:.4g}"

    @property
    def verdict(self) -> str:
        too_little = self.least is not None and self.worst < self.least
        too_much = self.most is not None and self.worst > self.most
        return "missed" if too_little or too_much else "✓"


def at_least(what: str, least: float, *figures: float) -> Goal:
    return Goal(what, least, None, min(figures), " / ".join(f"{figure:.2f}" for figure in figures))


def at_most(what: str, most: float, *figures: float) -> Goal:
    return Goal(what, None, most, max(figures), " / ".join(f"{figure:.2f}" for figure in figures))


def goals(results: Mapping[str, Any]) -> list[Goal]:
    """Those of every mode that has results, for all that took part in it."""
    return [goal for mode, judge in JUDGES.items() if mode in results for goal in judge(results[mode]["figures"])]


def _throughput(samples: Samples) -> Iterator[Goal]:
    clients = sorted({sample["connections"] for sample in samples})
    if OURS.name not in names_in(samples):
        return
    for peer in names_in(samples)[1:]:
        for operation, least in THROUGHPUT[peer].items():
            figures = [ratio(samples, peer, "rate", operation=operation, connections=count) for count in clients]
            yield at_least(f"Throughput against {TITLES[peer]}: {operation}", least, *figures)
    for operation in OPERATIONS:
        which = {"contestant": OURS.name, "operation": operation, "connections": clients[0]}
        p50, p99 = (middle(samples, figure, **which) for figure in ("p50", "p99"))
        yield at_most(f"p99 ÷ p50 at {clients[0]} connections: {operation}", SPREAD, p99 / p50)


def _on_sqlite(samples: Samples) -> Iterator[Goal]:
    for operation, least in ON_SQLITE.items():
        reached = ratio(samples, SQLMODEL.name, "rate", operation=operation)
        yield at_least(f"On SQLite against {SQLMODEL.title}: {operation}", least, reached)


def _latency(figures: Mapping[str, Any]) -> Iterator[Goal]:
    for operation, each in figures.get(OURS.name, {}).items():
        yield at_most(f"Round trips of 20 ms: {operation}", ROUND_TRIPS, each["p50_round_trips"])


def _growth(figures: Mapping[str, Any]) -> Iterator[Goal]:
    sizes = " ÷ ".join(f"{figures[size]['tasks']:,}" for size in ("large", "small"))
    for request in dict.fromkeys(row["request"] for row in figures["rows"]):
        each = [row["ratio"] for row in figures["rows"] if row["request"] == request]
        yield at_most(f"Growth, {sizes} tasks: {request}", GROWTH, *each)
    long = figures["long_list"]
    name = f"A list of {long['length']:,} tasks"
    yield at_most(f"{name}: growth of resident memory, MiB", MEBIBYTES, long["growth"])
    yield at_most(f"{name}: others' p99, during ÷ without", DISTURBANCE, *(o["ratio"] for o in long["others"].values()))


def _orders(figures: Mapping[str, Any]) -> Iterator[Goal]:
    lists = figures["lists"]
    for sort, each in lists.items():
        name = f"{figures['length']:,} tasks by {sort}"
        yield at_most(
            f"{name}: the whole list, ÷ that by created", ORDERED, each["seconds"] / lists["created"]["seconds"]
        )
        yield at_most(f"{name}: a deep page ÷ the first", GROWTH, each["ratio"])


def _fairness(rows: Sequence[Mapping[str, Any]]) -> Iterator[Goal]:
    most = max(row["connections"] for row in rows)
    for row in rows:
        if row["connections"] == most:
            name = f"Others' get on {most} connections, during ÷ without a burst"
            yield at_most(f"{name}: {row['burst']}", DISTURBANCE, row["ratio"])


def _start(figures: Mapping[str, Any]) -> Iterator[Goal]:
    ours, peer = figures.get(OURS.name), figures.get(SQLMODEL.name)
    if ours and peer:
        yield at_most(f"Importing, ms, beside {SQLMODEL.title}", peer["import_ms"], ours["import_ms"])
        yield at_most(f"Idle worker, MiB, beside {SQLMODEL.title}", peer["idle_mib"], ours["idle_mib"])


JUDGES: dict[str, Callable[[Any], Iterator[Goal]]] = {
    "throughput": _throughput,
    "sqlite": _on_sqlite,
    "latency": _latency,
    "growth": _growth,
    "orders": _orders,
    "fairness": _fairness,
    "start": _start,
}


def goals_rows(all_goals: Iterable[Goal]) -> list[list[str]]:
    return [[goal.what, goal.wanted, goal.reached, goal.verdict] for goal in all_goals]
