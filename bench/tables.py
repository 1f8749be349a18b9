"""Figures as Markdown tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.contestants import OURS, TITLES
from bench.markdown import clients_of, section, short, table
from bench.operations import OPERATIONS
from bench.results import Samples, middle, names_in, ratio
from bench.scaling_tables import costs_tables, simulate_tables

Figures = Any


def by_operation(names: Sequence[str], cell: Callable[[str, str], str]) -> str:
    """A row for each contestant, a column for each operation; `cell(contestant, operation)` fills them."""
    rows = ([TITLES[name], *(cell(name, operation) for operation in OPERATIONS)] for name in names)
    return table(["", *OPERATIONS], rows)


def throughput_tables(samples: Samples) -> str:
    clients = sorted({sample["connections"] for sample in samples})
    return "\n".join([*(_rates(samples, count) for count in clients), _latencies(samples, clients[0])])


def _rates(samples: Samples, clients: int) -> str:
    names = names_in(samples)
    rates = by_operation(
        names, lambda name, op: short(middle(samples, "rate", contestant=name, operation=op, connections=clients))
    )
    ratios = by_operation(
        [name for name in names if name != OURS.name and OURS.name in names],
        lambda name, op: f"{ratio(samples, name, 'rate', operation=op, connections=clients):.2f}",
    )
    return section(f"Requests per second, {clients} connections", rates, "Ours divided by theirs:\n", ratios)


def _latencies(samples: Samples, clients: int) -> str:
    def cell(name: str, operation: str) -> str:
        which = {"contestant": name, "operation": operation, "connections": clients}
        p50, p99 = (middle(samples, figure, **which) for figure in ("p50", "p99"))
        return f"{short(p50)} / {short(p99)} ({p99 / p50:.1f})"

    return section(
        f"p50 / p99 in milliseconds (p99 ÷ p50), {clients} connections", by_operation(names_in(samples), cell)
    )


def sqlite_tables(samples: Samples) -> str:
    return "\n".join([_rates(samples, 16), cpu_tables(samples), _latencies(samples, 16)])


def cpu_tables(samples: Samples) -> str:
    names = names_in(samples)
    spent = by_operation(
        names, lambda name, op: short(middle(samples, "cpu", contestant=name, operation=op, connections=16))
    )
    return section("CPU seconds of the server's process per 10,000 requests, 16 connections", spent)


def latency_tables(figures: Figures) -> str:
    def cell(name: str, operation: str) -> str:
        each = figures[name][operation]
        return (
            f"{each['p50']:.1f} / {each['p99']:.1f} ({each['p50_round_trips']:.2f}; {each['counted_round_trips']:.2f})"
        )

    title = "p50 / p99 in milliseconds of one client, 20 ms away from the database"
    meaning = (
        "In brackets: p50 in round trips of 20 ms; round trips that the proxy counted per request, "
        "some of them after the answer has left.\n"
    )
    return section(title, meaning, by_operation(list(figures), cell))


def growth_tables(figures: Figures) -> str:
    small, large = (f"{figures[size]['tasks']:,} tasks" for size in ("small", "large"))
    return "\n".join([_growing(figures, small, large), _long_list(figures["long_list"])])


def _growing(figures: Figures, small: str, large: str) -> str:
    rows = []
    for row in figures["rows"]:
        cells = (f"{short(row['small'])}", f"{short(row['large'])}", f"{row['ratio']:.2f}")
        rows.append([f"{row['request']}, {clients_of(row['connections'])}", *cells])
    depth = f"{figures['large']['depth']:,}"
    title = f"p50 in milliseconds at {small} and at {large} (deep: after {depth} tasks of one person)"
    return section(title, table(["", small, large, "ratio"], rows))


def _long_list(figures: Mapping[str, Any]) -> str:
    rows = [[f"Resident memory, MiB, {name}", f"{figures[key]:.1f}"] for name, key in MEMORY.items()]
    rows.append(["One list, seconds", f"{figures['seconds']:.2f}"])
    for connections, each in figures["others"].items():
        p99 = f"{each['without']:.2f} → {each['during']:.2f} ({each['ratio']:.2f})"
        rows.append([f"Others' get, p99 in ms without → during, {clients_of(int(connections))}", p99])
    return section(
        f"A list of {figures['length']:,} tasks ({figures['bytes'] / 1e6:.1f} MB of JSON)", table(["", ""], rows)
    )


MEMORY = {"before": "before", "at most": "peak", "growth": "growth"}


def start_tables(figures: Figures) -> str:
    def cells(name: str) -> list[str]:
        each = figures[name]
        imports = [short(each[key]) if each.get(key) else "" for key in ("import_ms", "process_ms")]
        return [TITLES[name], *imports, short(each["idle_mib"])]

    head = ["", "importing, ms (-X importtime)", "process that imports, ms of CPU", "idle worker, MiB"]
    return section("Start and memory", table(head, map(cells, figures)))


def orders_tables(figures: Figures) -> str:
    lists = [
        [sort, f"{each['seconds']:.2f}", *(short(each[key]) for key in ("first", "deep")), f"{each['ratio']:.2f}"]
        for sort, each in figures["lists"].items()
    ]
    base = figures["indexes"]["all indexes"]
    indexes = [
        [name, *(f"{short(each[op])} ({each[op] / base[op]:.2f})" for op in ("create", "toggle"))]
        for name, each in figures["indexes"].items()
    ]
    head = ["sort", "whole list, s", "first page of 50, p50 in ms", "page at 90 %, p50 in ms", "deep ÷ first"]
    return "\n".join(
        [
            section(f"A person's {figures['length']:,} tasks", table(head, lists)),
            section(
                "Requests per second without some indexes, 16 connections", table(["", "create", "toggle"], indexes)
            ),
        ]
    )


def fairness_tables(figures: Figures) -> str:
    counts = sorted({row["connections"] for row in figures})

    def cells(burst: str) -> list[str]:
        rows = {row["connections"]: row for row in figures if row["burst"] == burst}
        return [f"{short(r['without'])} → {short(r['during'])} ({r['ratio']:.2f})" for r in map(rows.get, counts) if r]

    rows = ([burst, *cells(burst)] for burst in dict.fromkeys(row["burst"] for row in figures))
    title = "Others' get, p50 in ms without → during a burst of 64 connections of one person (ratio)"
    return section(title, table(["", *map(clients_of, counts)], rows))


TABLES: dict[str, Callable[[Any], str]] = {
    "throughput": throughput_tables,
    "cpu": cpu_tables,
    "sqlite": sqlite_tables,
    "latency": latency_tables,
    "growth": growth_tables,
    "orders": orders_tables,
    "fairness": fairness_tables,
    "start": start_tables,
    "costs": costs_tables,
    "simulate": simulate_tables,
}
