"""bench/results.json: all raw figures, a section for each mode, and medians and ratios of them."""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

from bench.contestants import BENCH, OURS
from bench.machine import machine, versions

RESULTS = BENCH / "results.json"

# Measured or computed without peers, perhaps on another machine than the others: their sections name it.
ALONE = ("costs", "simulate")

Samples = Sequence[Mapping[str, Any]]


def note(text: str) -> None:
    """Progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def load_results() -> dict[str, Any]:
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return results


def save_results(mode: str, figures: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the section of this mode; give all of them."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    results, here = load_results(), machine()
    if mode in ALONE:
        settings = {**settings, "cpu": here["CPU"]}
    else:
        results |= {"machine": here, "versions": {**results.get("versions", {}), **versions()}}
    results[mode] = {"date": date, **settings, "figures": figures}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    return results


def where(samples: Samples, **conditions: Any) -> list[Mapping[str, Any]]:
    return [sample for sample in samples if all(sample[name] == value for name, value in conditions.items())]


def middle(samples: Samples, figure: str, **conditions: Any) -> float:
    """The median over the rounds."""
    return float(median(sample[figure] for sample in where(samples, **conditions)))


def ratio(samples: Samples, peer: str, figure: str, **conditions: Any) -> float:
    """The median of ours divided by the peer's in the same round."""
    by_round: dict[int, dict[str, float]] = defaultdict(dict)
    for sample in where(samples, **conditions):
        by_round[sample["round"]][sample["contestant"]] = sample[figure]
    return median(figures[OURS.name] / figures[peer] for figures in by_round.values())


def names_in(samples: Samples) -> list[str]:
    """The contestants, in their order."""
    return list(dict.fromkeys(sample["contestant"] for sample in where(samples, round=0)))


def percentile(values: Iterable[float], percent: float) -> float:
    """The nearest one that was measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
