"""docs/scaling.svg: how long people wait while more and more of them come, readable on light and on dark pages."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contestants import ROOT
from bench.picture import STYLE

PICTURE = ROOT / "docs" / "scaling.svg"
COLORS = ("#e4572e", "#4e79c4", "#0f9d8a")
WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 84, 56
MARKED = "stroke: #8c959f; stroke-opacity: 1; stroke-dasharray: 4 4"


def draw_waits(figures: Mapping[str, Any]) -> None:
    PICTURE.write_text("\n".join([*_parts(figures), "</svg>", ""]))


def _parts(figures: Mapping[str, Any]) -> Iterator[str]:
    curves = [each["curve"] for each in figures["deployments"]]
    rates = [point["rate"] for curve in curves for point in curve] + [figures["rate"]]
    waits = [point[key] for curve in curves for point in curve for key in ("p50", "p99")]
    x, y = _Scale(rates, LEFT, WIDTH - RIGHT), _Scale(waits, HEIGHT - BOTTOM, TOP)
    title = "Simulated: milliseconds of 99 in 100 requests (dashed: of half of them), by requests per second"
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    yield f"<title>{title}</title><style>{STYLE}</style>"
    yield f'<text class="title" x="{LEFT}" y="24">{title}</text>'
    yield from _grid(x, y)
    yield from _mark(x(figures["rate"]), f"busiest minute of {figures['people'] / 1e6:g} million people")
    for number, each in enumerate(figures["deployments"]):
        yield from _legend(number, f"{each['name']}; PostgreSQL: {each['nodes']} of {each['cores']} cores")
        for key, dash in (("p99", "none"), ("p50", "5 4")):
            yield _line([(x(point["rate"]), y(point[key])) for point in each["curve"]], COLORS[number], dash)


class _Scale:
    """Logarithmic, from `begin` to `end` on the picture."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        self.lowest, self.highest = min(values) / 1.15, max(values) * 1.15
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        share = math.log(value / self.lowest) / math.log(self.highest / self.lowest)
        return self._begin + (self._end - self._begin) * share

    def ticks(self) -> Iterator[float]:
        for power in range(-2, 8):
            for digit in (1, 2, 5):
                if self.lowest <= digit * 10.0**power <= self.highest:
                    yield digit * 10.0**power


def _grid(x: _Scale, y: _Scale) -> Iterator[str]:
    for tick in y.ticks():
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        yield f'<text class="scale" x="{LEFT - 8}" y="{y(tick) + 4:.1f}">{tick:g} ms</text>'
    for tick in x.ticks():
        yield f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text class="name" x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 20}">{tick:,.0f}/s</text>'


def _mark(x: float, words: str) -> Iterator[str]:
    yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM + 28}" style="{MARKED}"/>'
    yield f'<text class="name" x="{x:.1f}" y="{HEIGHT - 12}">{words}</text>'


def _legend(number: int, words: str) -> Iterator[str]:
    x = LEFT + 300 * number
    yield f'<rect x="{x}" y="44" width="12" height="12" rx="2" fill="{COLORS[number]}"/>'
    yield f'<text x="{x + 17}" y="54" style="font-size: 11px">{words}</text>'


def _line(points: Sequence[tuple[float, float]], color: str, dash: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2" stroke-dasharray="{dash}"/>'
