"""The people of the simulation: how many tasks each has, which shard they are on, what they do and when."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SHARDS = 32  # citus.shard_count
PAGE = 50
MINUTES = 1440

# Assumed, not measured: of what a session consists, in operations.
SESSION = {"list": 2.0, "get": 1.0, "create": 1.5, "update": 1.0, "toggle": 2.0, "delete": 0.5}
# Assumed: the share of people at each offset from UTC, in hours, and how busy each hour of their own day is.
ZONES = {-8: 0.07, -5: 0.12, -3: 0.08, 0: 0.09, 1: 0.19, 3: 0.07, 5.5: 0.17, 8: 0.16, 9: 0.05}
DAY = (1, 1, 1, 1, 1, 2, 5, 9, 12, 11, 9, 8, 8, 8, 8, 8, 9, 9, 9, 10, 11, 9, 5, 2)


@dataclass(frozen=True)
class Habits:
    """Assumed: tasks are log-normal with this median and spread, up to `most`; sessions are a person's and a day's."""

    median: float = 12
    spread: float = 1.7
    most: int = 100_000
    sessions: float = 1.2

    @property
    def operations(self) -> float:
        """Of a person and a day, on the average."""
        return self.sessions * sum(SESSION.values())


@dataclass(frozen=True)
class Population:
    """`load` is each shard's share of all operations, `lists` how often a page with so many rows is asked for."""

    people: int
    tasks: int
    largest: int
    busiest: float
    stored: Sequence[int]
    load: Sequence[float]
    lists: Sequence[float]


def populate(people: int, habits: Habits, seed: int) -> Population:
    """Who has more tasks does more: as the root of them. The hash of a random id is a random number."""
    rng = random.Random(seed)  # noqa: S311 - a simulation, which is to be repeatable
    stored, load, lists = [0] * SHARDS, [0.0] * SHARDS, [0.0] * (PAGE + 1)
    largest = 0
    middle = math.log(habits.median)
    for _ in range(people):
        tasks = min(habits.most, int(math.exp(rng.gauss(middle, habits.spread))))
        shard = rng.getrandbits(5)
        weight = activity(tasks)
        stored[shard] += tasks
        load[shard] += weight
        lists[min(tasks, PAGE)] += weight
        largest = max(largest, tasks)
    total = sum(load)
    busiest = activity(largest) / (total / people)
    return Population(
        people, sum(stored), largest, busiest, stored, [each / total for each in load], [each / total for each in lists]
    )


def activity(tasks: int) -> float:
    return math.sqrt(tasks + 1)


def rhythm(zones: Mapping[float, float] = ZONES, day: Sequence[float] = DAY) -> list[float]:
    """For each minute of a day in UTC, how many times the average minute it has."""
    average = sum(day) / len(day) * sum(zones.values())
    return [
        sum(share * _at(day, minute / 60 + offset) for offset, share in zones.items()) / average
        for minute in range(MINUTES)
    ]


def _at(day: Sequence[float], hour: float) -> float:
    """Between two hours, what is between them."""
    whole = math.floor(hour)
    before, after = day[whole % 24], day[(whole + 1) % 24]
    return before + (after - before) * (hour - whole)


def mean_rows(population: Population) -> float:
    """Of a list, which is one page."""
    return sum(rows * share for rows, share in enumerate(population.lists))
