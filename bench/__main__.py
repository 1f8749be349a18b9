"""The command line: `scripts/bench` prepares what is needed and then runs this."""

import argparse
import signal
import sys
from collections.abc import Callable
from typing import Any

from bench.contestants import CONTESTANTS, Contestant
from bench.costs import costs
from bench.fairness import fairness
from bench.growth import growth
from bench.latency import latency
from bench.load import BenchError
from bench.orders import orders
from bench.picture import draw
from bench.report import write_report
from bench.results import note, save_results
from bench.scaling_tables import write_page
from bench.simulation import simulate
from bench.start import start
from bench.tables import TABLES
from bench.throughput import Plan, cpu, sqlite, throughput

MODES: dict[str, Callable[[Plan], Any]] = {
    "throughput": throughput,
    "latency": latency,
    "growth": growth,
    "orders": orders,
    "fairness": fairness,
    "start": start,
    "cpu": cpu,
    "sqlite": sqlite,
    "costs": costs,
    "simulate": simulate,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the app beside its peers.")
    parser.add_argument(
        "modes", nargs="*", metavar="mode", help=f"{', '.join(MODES)}, all, or report (measures nothing)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of which medians are taken (default 5)")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (default 5)")
    parser.add_argument("--only", default="", metavar="NAMES", help="these contestants, separated by commas")
    parser.add_argument("--tasks", type=int, default=10_000_000, help="of growth's large table (default 10 million)")
    parser.add_argument("--people", type=int, default=10_000_000, help="of the simulation (default 10 million)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulation (default 1)")
    given = parser.parse_args()
    unknown = set(given.modes) - {*MODES, "all", "report"}
    if unknown or given.rounds < 1 or given.seconds <= 0 or given.tasks < 10_000 or given.people < 1000:
        parser.error(
            f"no such mode: {unknown.pop()}" if unknown else "--rounds, --seconds, --tasks or --people is too small"
        )
    return given


def chosen(names: str) -> list[Contestant]:
    """Ours first: the others' answers are compared with the first one's."""
    wanted = set(filter(None, names.split(",")))
    unknown = wanted - {contestant.name for contestant in CONTESTANTS}
    if unknown:
        raise BenchError(f"There is no contestant {unknown.pop()}; there are {', '.join(c.name for c in CONTESTANTS)}.")
    return [contestant for contestant in CONTESTANTS if not wanted or contestant.name in wanted]


def run(mode: str, plan: Plan) -> None:
    note(f"{mode}: {', '.join(contestant.name for contestant in plan.contestants)}")
    figures = MODES[mode](plan)
    results = save_results(mode, figures, {"rounds": plan.rounds, "seconds": plan.seconds})
    if mode == "throughput":
        draw(results[mode]["figures"])
    if mode == "simulate":
        write_page(results)
    print(f"\n## {mode.capitalize()}\n\n{TABLES[mode](results[mode]['figures'])}", flush=True)


def main() -> None:
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of every `with`, which stops what it started
    modes = given.modes or ["throughput"]
    try:
        plan = Plan(chosen(given.only), given.rounds, given.seconds, given.tasks, given.people, given.seed)
        for mode in MODES if "all" in modes else modes:
            if mode != "report":
                run(mode, plan)
        if {"all", "report"} & set(modes):
            print(f"Wrote {write_report()}.")
    except BenchError as error:
        sys.exit(f"The benchmark stopped: {error}")


if __name__ == "__main__":
    main()
