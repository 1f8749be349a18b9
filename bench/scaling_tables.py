"""What the modes `costs` and `simulate` found, as tables."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from bench.contestants import ROOT
from bench.machines import CONNECTIONS
from bench.markdown import clients_of, section, short, table
from bench.results import Samples, middle, where

PAGE = ROOT / "docs" / "scaling.md"

Figures = Any


def write_page(results: Mapping[str, Any]) -> None:
    """Replace the tables of docs/scaling.md, each between two markers."""
    text = PAGE.read_text()
    for name, found in page_tables(results).items():
        before, begin, rest = text.partition(f"<!-- {name}: begin -->\n")
        _, end, after = rest.partition(f"<!-- {name}: end -->")
        text = f"{before}{begin}\n{found}\n{end}{after}"
    PAGE.write_text(text)


def page_tables(results: Mapping[str, Any]) -> dict[str, str]:
    simulated = results["simulate"]["figures"]
    costs = request_costs(results["costs"]["figures"])
    return {"costs": costs, "limits": first_limits(simulated), "heavy": heavy_person(simulated)}


def request_costs(figures: Figures) -> str:
    rows = [
        [op, *(short(middle(figures["operations"], key, operation=op)) for key in ("app", "database", "wal"))]
        for op in dict.fromkeys(sample["operation"] for sample in figures["operations"])
    ]
    return table(["", "app, µs of CPU", "PostgreSQL, µs of CPU", "WAL, bytes"], rows)


def costs_tables(figures: Figures) -> str:
    storage, connection = figures["storage"], figures["connection"]
    facts = [
        ["Table, bytes a task", short(storage["table"])],
        ["Indexes, bytes a task", short(storage["indexes"])],
        [f"{storage['tasks']:,} tasks in one statement, tasks a second", short(storage["rate"])],
        ["Memory of a connection's process in PostgreSQL, MiB", short(connection["own"])],
    ]
    return "\n".join(
        [
            section("What a request costs, 16 connections", request_costs(figures)),
            section("Space", table(["", ""], facts)),
            section("Worker processes: requests per second", _versus(figures["workers"], "rate", "1", "2")),
            section("PgBouncer in between: p50 in ms", _versus(figures["pooler"], "p50", "direct", "pooler")),
        ]
    )


def _versus(samples: Samples, figure: str, first: str, second: str) -> str:
    """The last column is the median of the ratios within a round."""

    def cells(operation: str, clients: int) -> Iterator[str]:
        found = [
            [sample[figure] for sample in where(samples, operation=operation, connections=clients, **{"with": name})]
            for name in (first, second)
        ]
        yield f"{operation}, {clients_of(clients)}"
        yield from (short(median(values)) for values in found)
        yield f"{median(after / before for before, after in zip(*found, strict=True)):.2f}"

    kinds = dict.fromkeys((sample["operation"], sample["connections"]) for sample in samples)
    return table(["", first, second, "ratio"], (list(cells(*kind)) for kind in kinds))


def simulate_tables(figures: Figures) -> str:
    return "\n".join(
        [section("First limits", first_limits(figures)), section("One heavy person", heavy_person(figures))]
    )


def first_limits(figures: Figures) -> str:
    """Figures of people are millions."""

    def cells(each: Mapping[str, Any]) -> Iterator[str]:
        peak = each["peak"]
        yield f"{each['name']}, {each['processes']} workers; PostgreSQL: {each['nodes']} of {each['cores']} cores"
        yield from (f"{each['rates'][name]:,.0f}" for name in ("app", "database"))
        yield from (short(each["people"][name] / 1e6) for name in ("app", "database", "disk", "log"))
        yield f"{each['connections']:,}" + ", pooler" * (each["connections"] > CONNECTIONS)
        yield f"{short(each['stored'])} GB"
        yield f"{short(peak['p50'])} / {short(peak['p99'])}" if peak else "overloaded"

    head = ["", "app, requests/s", "database, requests/s", "people, millions: app", "database", "disk", "log"]
    head += ["connections", "on each node", "p50 / p99, ms"]
    return table(head, (list(cells(each)) for each in figures["deployments"]))


def heavy_person(figures: Figures) -> str:
    """The others' wait while one person has so many requests under way, and how many of those are answered."""

    def cells(each: Mapping[str, Any]) -> Iterator[str]:
        yield each["name"]
        for found in each["heavy"].values():
            yield f"{short(found['p50'])} / {short(found['p99'])}" + (
                f" ({found['heavy']:,.0f}/s)" * (found["heavy"] > 0)
            )

    counts = figures["deployments"][0]["heavy"]
    return table(["", *(f"{count} connections" for count in counts)], (list(cells(e)) for e in figures["deployments"]))
