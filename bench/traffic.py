"""A busy minute, request by request: through a worker's event loop, the database's cores, and the loop again."""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from bench.machines import READS, ROUTING, Costs, Deployment, node_loads
from bench.population import SESSION, Population
from bench.results import percentile

HOP = 0.0005  # assumed: seconds to another machine and back
WARMING = 0.1  # of the requests, which find empty queues and are not counted


class Kind(NamedTuple):
    """Seconds that a request takes of the app, of the shard, and of the node that routes it."""

    app: float
    database: float
    routing: float


@dataclass(frozen=True)
class Mix:
    """Kinds of requests and how frequent each is, and the share of each node."""

    kinds: Sequence[Kind]
    weights: Sequence[float]
    nodes: Sequence[float]


class Outcome(NamedTuple):
    """`p50` and `p99` in ms of everybody but the heavy person; `heavy` is that person's requests a second."""

    p50: float
    p99: float
    heavy: float


def mix_of(deployment: Deployment, costs: Costs, population: Population) -> Mix:
    kinds, weights = [], []
    for name, count in SESSION.items():
        shares = enumerate(population.lists) if name == "list" else [(0, 1.0)]
        for rows, share in shares:
            app, database = costs.of(name, rows)
            routing = ROUTING["read" if name in READS else "write"] if deployment.routed else 0.0
            kinds.append(Kind(app / 1e6, database / 1e6, routing / 1e6))
            weights.append(count * share)
    return Mix(kinds, weights, node_loads(population, deployment.nodes))


class _Request(NamedTuple):
    begun: float
    kind: Kind
    worker: int
    node: int
    heavy: bool


@dataclass
class _Worker:
    """An event loop, free at a moment, and its pool, which one person has a quarter of."""

    places: int
    free: float = 0.0
    heavy: int = 0
    # As in database/queue.py: what is beyond the heavy person's share does not stand in the others' line.
    line: deque[_Request] = field(default_factory=deque)
    behind: deque[_Request] = field(default_factory=deque)


Draw = Callable[[float], float]


class Minute:
    """Requests arrive at random times; `heavy` connections of one more person always have one under way each."""

    def __init__(self, deployment: Deployment, mix: Mix, seed: int, draw: Draw | None = None) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - repeatable
        self._draw = draw or (lambda mean: self._rng.expovariate(1 / mean) if mean else 0.0)
        self._deployment, self._mix = deployment, mix
        self._share = max(1, deployment.pool // 4)
        self._workers = [_Worker(deployment.pool) for _ in range(deployment.processes)]
        self._cores = [[0.0] * deployment.cores for _ in range(deployment.nodes)]
        self._events: list[tuple[float, int, Callable[[float, _Request], None], _Request]] = []
        self._count = 0
        self._done: list[tuple[float, float, bool]] = []
        self._left = 0

    def run(self, rate: float, requests: int, heavy: int = 0) -> Outcome:
        """The first tenth is not counted."""
        kinds = self._rng.choices(self._mix.kinds, cum_weights=list(accumulate(self._mix.weights)), k=requests)
        nodes = self._rng.choices(range(len(self._cores)), cum_weights=list(accumulate(self._mix.nodes)), k=requests)
        self._left, now = requests, 0.0
        for kind, node in zip(kinds, nodes, strict=True):
            now += self._rng.expovariate(rate)
            worker = self._rng.randrange(len(self._workers))
            self._at(now, self._arrive, _Request(now, kind, worker, node, False))
        for connection in range(heavy):
            self._repeat(0.0, connection % len(self._workers))
        while self._left:
            moment, _, step, request = heapq.heappop(self._events)
            step(moment, request)
        return self._outcome(now)

    def _outcome(self, end: float) -> Outcome:
        begin = end * WARMING
        waits = [(done - begun) * 1000 for begun, done, heavy in self._done if not heavy and begun >= begin]
        others = sum(heavy and begin <= done <= end for _, done, heavy in self._done)
        return Outcome(percentile(waits, 50), percentile(waits, 99), others / (end - begin))

    def _at(self, moment: float, step: Callable[[float, _Request], None], request: _Request) -> None:
        self._count += 1
        heapq.heappush(self._events, (moment, self._count, step, request))

    def _repeat(self, now: float, worker: int) -> None:
        """The heavy person's next request; their tasks are on the first node."""
        kind = self._rng.choices(self._mix.kinds, self._mix.weights)[0]
        self._at(now, self._arrive, _Request(now, kind, worker, 0, True))

    def _loop(self, now: float, request: _Request) -> float:
        """When the event loop is done with half of a request's work."""
        worker = self._workers[request.worker]
        worker.free = max(now, worker.free) + self._draw(request.kind.app / 2)
        return worker.free

    def _node(self, now: float, node: int, seconds: float) -> float:
        cores = self._cores[node]
        end = max(now, cores[0]) + seconds
        heapq.heapreplace(cores, end)
        return end

    def _arrive(self, now: float, request: _Request) -> None:
        self._at(self._loop(now, request), self._enter, request)

    def _enter(self, now: float, request: _Request) -> None:
        worker = self._workers[request.worker]
        if request.heavy and worker.heavy >= self._share:
            worker.behind.append(request)
            return
        worker.heavy += request.heavy
        if worker.places:
            self._ask(now, request)
        else:
            worker.line.append(request)

    def _ask(self, now: float, request: _Request) -> None:
        worker = self._workers[request.worker]
        worker.places -= 1
        if self._deployment.routed:
            self._at(now + HOP / 2, self._route, request)
        else:
            self._at(now + HOP / 2, self._execute, request)

    def _route(self, now: float, request: _Request) -> None:
        node = self._rng.randrange(len(self._cores))
        hop = 0 if node == request.node else HOP
        self._at(self._node(now, node, self._draw(request.kind.routing)) + hop, self._execute, request)

    def _execute(self, now: float, request: _Request) -> None:
        end = self._node(now, request.node, self._draw(request.kind.database))
        self._at(end + HOP / 2, self._answer, request)

    def _answer(self, now: float, request: _Request) -> None:
        worker = self._workers[request.worker]
        worker.places += 1
        worker.heavy -= request.heavy
        if request.heavy and worker.behind:
            worker.heavy += 1
            worker.line.append(worker.behind.popleft())
        if worker.line:
            self._ask(now, worker.line.popleft())
        end = self._loop(now, request)
        self._done.append((request.begun, end, request.heavy))
        if request.heavy:
            self._repeat(end, request.worker)
        else:
            self._left -= 1
