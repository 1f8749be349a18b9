"""Which machines there are, what they can carry, and what they run into first: arithmetic alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.costs import LONG, LONG_LIST
from bench.operations import OPERATIONS
from bench.population import SESSION, Habits, Population, mean_rows
from bench.results import middle

SHORT = 20  # tasks in the list that OPERATIONS has
READS = {"list", "get"}
# µs of CPU of the node that routes, for a read and for a write: how much longer one client waited in the trial of
# Citus 13.2 that docs/scaling.md describes (0.2 and 0.3 to 0.4 ms), and so an upper bound.
ROUTING = {"read": 200.0, "write": 350.0}
# Assumed: how busy anything may be in the worst minute, GB of disk and MB/s of its log for each node.
MOST_BUSY = 0.7
DISK = 2000.0
LOG = 100.0
# PostgreSQL's default max_connections, without those for superusers.
CONNECTIONS = 97
SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Costs:
    """µs of CPU and bytes of WAL of each operation, those of a list apart from its rows; bytes of a stored task."""

    app: Mapping[str, float]
    database: Mapping[str, float]
    app_row: float
    database_row: float
    wal: Mapping[str, float]
    task: float

    def of(self, operation: str, rows: float) -> tuple[float, float]:
        """µs of the app and of the database."""
        count = rows if operation == "list" else 0
        return self.app[operation] + self.app_row * count, self.database[operation] + self.database_row * count


def costs_of(figures: Mapping[str, Any]) -> Costs:
    """From what the mode `costs` measured."""
    samples = figures["operations"]
    found: dict[str, dict[str, float]] = {}
    for kind in ("app", "database", "wal"):
        found[kind] = {name: middle(samples, kind, operation=name) for name in (*OPERATIONS, "delete", LONG_LIST)}
    rows = {}
    for kind in ("app", "database"):
        long = found[kind].pop(LONG_LIST)
        rows[kind] = max(0.0, long - found[kind]["list"]) / (LONG - SHORT)
        found[kind]["list"] = max(0.0, found[kind]["list"] - SHORT * rows[kind])
    storage = figures["storage"]
    return Costs(
        found["app"],
        found["database"],
        rows["app"],
        rows["database"],
        found["wal"],
        storage["table"] + storage["indexes"],
    )


@dataclass(frozen=True)
class Deployment:
    """`nodes` machines of PostgreSQL with `cores` each; if `routed`, each routes its share of the statements first."""

    name: str
    machines: int
    workers: int
    nodes: int
    cores: int
    pool: int = 8
    routed: bool = False

    @property
    def processes(self) -> int:
        return self.machines * self.workers

    @property
    def connections(self) -> int:
        """Clients' connections to the database when all pools are full."""
        return self.processes * self.pool


DEPLOYMENTS = (
    Deployment("1 machine", machines=1, workers=4, nodes=1, cores=4),
    Deployment("4 machines", machines=4, workers=4, nodes=1, cores=16),
    Deployment("32 machines", machines=32, workers=4, nodes=8, cores=16, routed=True),
)


def node_loads(population: Population, nodes: int) -> list[float]:
    """The share of each node, the shards dealt out in turn."""
    return [sum(population.load[node::nodes]) for node in range(nodes)]


def means(costs: Costs, population: Population) -> dict[str, float]:
    """Of an average request: µs of the app, of the database and of routing, and bytes of WAL."""
    total = sum(SESSION.values())
    rows = mean_rows(population)
    sums = {"app": 0.0, "database": 0.0, "routing": 0.0, "wal": 0.0}
    for name, count in SESSION.items():
        app, database = costs.of(name, rows)
        sums["app"] += count / total * app
        sums["database"] += count / total * database
        sums["routing"] += count / total * ROUTING["read" if name in READS else "write"]
        sums["wal"] += count / total * costs.wal[name]
    return sums


def capacities(deployment: Deployment, costs: Costs, population: Population) -> dict[str, float]:
    """Requests a second at which a resource is as busy as it may be; of the nodes, the busiest decides."""
    mean = means(costs, population)
    hottest = max(node_loads(population, deployment.nodes))
    node = mean["database"] * hottest + (mean["routing"] / deployment.nodes if deployment.routed else 0)
    return {
        "app": MOST_BUSY * deployment.processes / mean["app"] * 1e6,
        "database": MOST_BUSY * deployment.cores / node * 1e6,
        "log": LOG * 1e6 / (mean["wal"] * hottest),
    }


def limits(
    deployment: Deployment, costs: Costs, population: Population, habits: Habits, peak: float
) -> dict[str, float]:
    """How many people each resource carries."""
    rates = capacities(deployment, costs, population)
    people = {name: rate * SECONDS_A_DAY / (habits.operations * peak) for name, rate in rates.items()}
    return {**people, "disk": population.people * DISK / max(stored(deployment, costs, population))}


def needed(people: int, habits: Habits, peak: float) -> float:
    """Requests a second in the busiest minute of so many people."""
    return people * habits.operations / SECONDS_A_DAY * peak


def stored(deployment: Deployment, costs: Costs, population: Population) -> Sequence[float]:
    """GB on each node."""
    return [sum(population.stored[node :: deployment.nodes]) * costs.task / 1e9 for node in range(deployment.nodes)]
