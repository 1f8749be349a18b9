"""bench/RESULTS.md: everything in results.json, for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.contestants import BENCH, ROOT
from bench.goals import Goal, goals, goals_rows
from bench.markdown import table
from bench.results import load_results
from bench.tables import TABLES

REPORT = BENCH / "RESULTS.md"
BEGIN, END = "<!-- by hand: begin -->", "<!-- by hand: end -->"
EXPLANATION = (
    "Ratios are medians of those within a round. Of two figures the worse decides; those of throughput are at 16 "
    "and at 128 connections, those of growth and of others' p99 at 1 and at 16."
)
EMPTY = "\nWhat was missed, why, and what was tried.\n"


def write_report() -> str:
    """Give the path, from the repository's root. What stands between the markers stays as it is."""
    by_hand = _by_hand()
    REPORT.write_text("\n".join(_parts(load_results(), by_hand)))
    return str(REPORT.relative_to(ROOT))


def _by_hand() -> str:
    text = REPORT.read_text() if REPORT.exists() else ""
    return text.partition(BEGIN)[2].partition(END)[0] or EMPTY


def _parts(results: Mapping[str, Any], by_hand: str) -> Iterator[str]:
    yield "# Results\n\n`scripts/bench report` writes this file from results.json; only the part between the markers is"
    yield "written by hand.\n\n![Requests per second](throughput.svg)\n\n## Goals\n"
    yield _summary(goals(results))
    yield f"{BEGIN}{by_hand}{END}\n"
    for mode, tables in TABLES.items():
        if mode in results:
            section = results[mode]
            yield f"## {mode.capitalize()}\n\n{section['date']}, {_effort(mode, section)}\n"
            yield tables(section["figures"])
    yield f"## Machine and versions\n\n{_facts(results['machine'])}\n{_facts(results['versions'])}"


def _effort(mode: str, section: Mapping[str, Any]) -> str:
    if mode == "start":
        return "medians of 5."
    if mode == "simulate":
        figures = section["figures"]
        return f"{figures['people']:,} people, seed {figures['seed']}; docs/scaling.md says what is assumed."
    seconds = f"{section['seconds']:g} s a measurement"
    if mode == "costs":
        seconds = f"{seconds}, {section['cpu']}"
    return f"{seconds}." if mode == "latency" else f"medians of {section['rounds']} rounds, {seconds}."


def _summary(found: list[Goal]) -> str:
    reached = sum(goal.verdict == "✓" for goal in found)
    goals_table = table(["", "goal", "reached", ""], goals_rows(found))
    return f"{reached} of {len(found)} reached. {EXPLANATION}\n\n{goals_table}"


def _facts(facts: Mapping[str, str]) -> str:
    return "".join(f"- {name}: {value}\n" for name, value in facts.items())


if __name__ == "__main__":
    print(write_report())
