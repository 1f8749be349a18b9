"""A day of many people, from what `costs` measured: what runs out first, and how long they wait."""

from collections.abc import Mapping
from typing import Any

from bench.curves import draw_waits
from bench.load import BenchError
from bench.machines import (
    DEPLOYMENTS,
    MOST_BUSY,
    Costs,
    Deployment,
    capacities,
    costs_of,
    limits,
    means,
    needed,
    node_loads,
    stored,
)
from bench.population import Habits, Population, mean_rows, populate, rhythm
from bench.results import load_results, note
from bench.throughput import Plan
from bench.traffic import Minute, mix_of

HEAVY = (64, 1024)
BUSY = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
REQUESTS = 60_000


def simulate(plan: Plan) -> dict[str, Any]:
    """Raises `BenchError` unless the costs were measured."""
    results = load_results()
    if "costs" not in results:
        raise BenchError("nothing is known of what a request costs; run `scripts/bench costs` first")
    figures = simulated(costs_of(results["costs"]["figures"]), Habits(), plan.people, plan.seed)
    draw_waits(figures)
    return figures


def simulated(costs: Costs, habits: Habits, people: int, seed: int, requests: int = REQUESTS) -> dict[str, Any]:
    """The same for the same seed."""
    note(f"{people:,} people")
    population = populate(people, habits, seed)
    peak = max(rhythm())
    rate = needed(people, habits, peak)
    return {
        "people": people,
        "seed": seed,
        "tasks": population.tasks,
        "largest": population.largest,
        "busiest": population.busiest * habits.operations,
        "rows": mean_rows(population),
        "operations": habits.operations,
        "peak": peak,
        "rate": rate,
        "means": means(costs, population),
        "shards": _spread(population),
        "deployments": [_deployment(each, costs, population, habits, rate, seed, requests) for each in DEPLOYMENTS],
    }


def _spread(population: Population) -> dict[str, float]:
    """How many times the average shard the fullest and the busiest have, and the busiest of eight nodes."""
    shards = len(population.load)
    return {
        "stored": max(population.stored) * shards / population.tasks,
        "load": max(population.load) * shards,
        "largest": population.largest * shards / population.tasks,
        "node": max(node_loads(population, 8)) * 8,
    }


def _deployment(
    deployment: Deployment, costs: Costs, population: Population, habits: Habits, rate: float, seed: int, requests: int
) -> dict[str, Any]:
    note(deployment.name)
    rates = capacities(deployment, costs, population)
    carried = limits(deployment, costs, population, habits, max(rhythm()))
    most = min(rates["app"], rates["database"])

    def waits(at: float, heavy: int = 0) -> dict[str, float]:
        mix = mix_of(deployment, costs, population)
        outcome = Minute(deployment, mix, seed).run(at, requests, heavy)
        return {"rate": at, **outcome._asdict()}

    return {
        "name": deployment.name,
        "processes": deployment.processes,
        "nodes": deployment.nodes,
        "cores": deployment.cores,
        "connections": deployment.connections,
        "rates": rates,
        "people": carried,
        "first": first_limit(carried),
        "stored": max(stored(deployment, costs, population)),
        "peak": waits(rate) if rate < most / MOST_BUSY else None,
        "curve": [{"busy": busy, **waits(busy * most / MOST_BUSY)} for busy in BUSY],
        "heavy": {str(count): waits(most / 2, count) for count in (0, *HEAVY)},
    }


def first_limit(people: Mapping[str, float]) -> str:
    return min(people, key=lambda name: people[name])
