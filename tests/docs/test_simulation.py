"""What `scripts/bench simulate` computes, where it can be done by hand, and that docs/scaling.md shows its figures."""

import math
from typing import Any

import pytest

from bench.machines import Costs, Deployment, capacities, costs_of, limits, needed, node_loads, stored
from bench.population import SESSION, SHARDS, Habits, Population, populate, rhythm
from bench.results import load_results
from bench.scaling_tables import page_tables
from bench.simulation import first_limit, simulated
from bench.traffic import HOP, Kind, Minute, Mix
from tests.support.backend import ROOT

OPERATIONS = tuple(SESSION)
ONE = Deployment("one", machines=1, workers=4, nodes=1, cores=4)
CORE = Deployment("core", machines=1, workers=1, nodes=1, cores=1, pool=100)
# Everybody has ten tasks.
EQUAL = Habits(median=10.5, spread=0)


def costs(app: float = 500, database: float = 250, wal: float = 1000) -> Costs:
    """Of every operation alike, and nothing for the rows of a list."""
    each = [dict.fromkeys(OPERATIONS, cost) for cost in (app, database, wal)]
    return Costs(each[0], each[1], 0, 0, each[2], task=1000)


def mix(app: float = 0.0, database: float = 0.0) -> Mix:
    return Mix([Kind(app, database, 0)], [1], [1])


def measured(operation: str, app: float) -> dict[str, Any]:
    return {"operation": operation, "app": app, "database": app / 2, "wal": 0.0}


def population(even: float = 1, odd: float = 1) -> Population:
    """A thousand people with 32 tasks each; how busy the shards with even and odd numbers are."""
    return Population(1000, 32_000, 32, 1, [1000] * SHARDS, [even / SHARDS, odd / SHARDS] * 16, [1.0, *[0.0] * 50])


def test_a_simulation_is_the_same_again_for_its_seed() -> None:
    first, again, other = (simulated(costs(), Habits(), 2000, seed, requests=500) for seed in (7, 7, 8))

    assert first == again
    assert first["tasks"] != other["tasks"]
    assert first["deployments"][0]["curve"] != other["deployments"][0]["curve"]


def test_the_cost_of_a_row_is_what_a_longer_list_costs_more() -> None:
    samples = [measured(name, 300) for name in OPERATIONS] + [measured("list of 200", 1200)]

    found = costs_of({"operations": samples, "storage": {"table": 100, "indexes": 300}})

    assert (found.app_row, found.app["list"], found.app["get"], found.task) == (5, 200, 300, 400)
    assert found.of("list", rows=20) == (300, 150)
    assert found.of("get", rows=20) == (300, 150)


def test_machines_carry_what_their_cores_can_do_in_the_part_of_a_second_that_is_used() -> None:
    found = capacities(ONE, costs(), population())

    # 4 processes, 0.7 of the time, 500 µs each; 4 cores and 250 µs; 100 MB/s and 1,000 bytes.
    assert found == pytest.approx({"app": 5600, "database": 11_200, "log": 100_000})


def test_the_busiest_node_decides_what_several_carry_and_each_routes_its_share() -> None:
    nodes = Deployment("two", machines=1, workers=1, nodes=2, cores=1, routed=True)
    uneven = population(even=1.5, odd=0.5)

    found = capacities(nodes, costs(database=100), uneven)

    # Three quarters of 100 µs, and half of the routing: 200 µs for each of 3 reads, 350 for each of 5 writes, of 8.
    assert node_loads(uneven, 2) == pytest.approx([0.75, 0.25])
    assert found["database"] == pytest.approx(0.7e6 / (75 + (3 * 200 + 5 * 350) / 8 / 2))


def test_people_are_as_many_as_their_busiest_minute_and_their_tasks_let_be() -> None:
    habits = Habits(sessions=1.25)  # ten operations a day

    found = limits(ONE, costs(), population(), habits, peak=2)

    assert found["app"] == pytest.approx(5600 * 86_400 / 20)
    assert needed(round(found["app"]), habits, peak=2) == pytest.approx(5600)
    # 32 tasks of 1,000 bytes a person.
    assert stored(ONE, costs(), population()) == pytest.approx([0.032])
    assert found["disk"] == pytest.approx(2e12 / 32_000)
    assert first_limit(found) == "app"


def test_a_request_alone_takes_what_it_costs_and_the_way_to_the_database() -> None:
    found = Minute(ONE, mix(app=0.0005, database=0.00025), seed=1, draw=lambda mean: mean).run(rate=1, requests=100)

    assert found == pytest.approx((0.5 + 0.25 + HOP * 1000, 0.5 + 0.25 + HOP * 1000, 0))


def test_a_core_that_is_half_busy_keeps_people_waiting_as_the_theory_of_queues_says() -> None:
    found = Minute(CORE, mix(database=0.001), seed=1).run(rate=500, requests=30_000)

    # M/M/1: the time in it is exponential, with the mean of the service divided by the idle share.
    assert found.p50 - HOP * 1000 == pytest.approx(math.log(2) * 2, rel=0.06)
    assert found.p99 - HOP * 1000 == pytest.approx(math.log(100) * 2, rel=0.06)


def test_a_heavy_person_has_a_quarter_of_a_workers_connections() -> None:
    worker = Deployment("worker", machines=1, workers=1, nodes=1, cores=100)

    found = Minute(worker, mix(database=0.01), seed=1, draw=lambda mean: mean).run(rate=1, requests=100, heavy=64)

    assert found.heavy == pytest.approx(2 / (0.01 + HOP), rel=0.01)
    assert found.p99 == pytest.approx(10 + HOP * 1000)


def test_an_event_loop_does_one_thing_at_a_time() -> None:
    found = Minute(CORE, mix(app=0.01), seed=1, draw=lambda mean: mean).run(rate=0.1, requests=50, heavy=16)

    assert found.heavy == pytest.approx(100, rel=0.01)


def test_people_with_the_same_tasks_are_counted_by_hand() -> None:
    found = populate(3200, EQUAL, seed=1)

    assert (found.tasks, found.largest, sum(found.stored)) == (32_000, 10, 32_000)
    assert found.busiest == pytest.approx(1)
    assert sum(found.load) == pytest.approx(1)
    assert found.load == pytest.approx([tasks / 32_000 for tasks in found.stored])
    assert found.lists[10] == pytest.approx(1)


def test_nobody_has_more_tasks_than_the_most() -> None:
    assert populate(1000, Habits(spread=5, most=500), seed=1).largest == 500


def test_a_day_has_its_peak_where_its_people_have_theirs() -> None:
    """A quarter of them are one hour further east."""
    day = [0, 0, 24, *[0] * 21]

    found = rhythm({0: 0.75, 1: 0.25}, day)

    assert len(found) == 1440
    assert sum(found) / 1440 == pytest.approx(1)
    assert (found[60], found[90], found[120]) == pytest.approx((6, 12, 18))


@pytest.mark.parametrize("name", ["costs", "limits", "heavy"])
def test_the_page_has_the_tables_of_the_last_simulation(name: str) -> None:
    """`scripts/bench simulate` writes them there."""
    page = (ROOT / "docs" / "scaling.md").read_text()

    assert page_tables(load_results())[name] == page.partition(f"{name}: begin -->\n\n")[2].partition("\n<!--")[0]
