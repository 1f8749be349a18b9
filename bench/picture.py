"""bench/throughput.svg: requests per second as grouped bars, readable on light and on dark pages."""

from collections.abc import Iterator
from html import escape

from bench.contestants import BENCH, TITLES
from bench.operations import OPERATIONS
from bench.results import Samples, middle, names_in

PICTURE = BENCH / "throughput.svg"
CONNECTIONS = 16

COLORS = {
    "ours": "#e4572e",
    "fastapi_sqlmodel": "#0f9d8a",
    "fastapi_asyncpg": "#57c4b2",
    "starlette_asyncpg": "#4e79c4",
    "express_pg": "#c9a227",
    "fastify_pg": "#8a8f98",
}
WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 84, 40
GROUP = (WIDTH - LEFT - RIGHT) / len(OPERATIONS)
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.figure { font-size: 9px; text-anchor: middle }
.scale { font-size: 11px; text-anchor: end; opacity: .7 }
.name { font-size: 13px; text-anchor: middle }
line { stroke: #8c959f; stroke-opacity: .35 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }
"""


def draw(samples: Samples) -> None:
    rates = {
        name: {
            operation: middle(samples, "rate", contestant=name, operation=operation, connections=CONNECTIONS)
            for operation in OPERATIONS
        }
        for name in names_in(samples)
    }
    top = max(max(row.values()) for row in rates.values())
    parts = [*_frame(), *_legend(list(rates)), *_scale(top), *_bars(rates, top)]
    PICTURE.write_text("\n".join([*parts, "</svg>", ""]))


def _frame() -> Iterator[str]:
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    title = f"Requests per second, one process each, {CONNECTIONS} connections"
    yield f"<title>{title}</title><style>{STYLE}</style>"
    yield f'<text class="title" x="{LEFT}" y="24">{title}</text>'


def _legend(names: list[str]) -> Iterator[str]:
    x = float(LEFT)
    for name in names:
        title = TITLES[name]
        yield f'<rect x="{x:.0f}" y="40" width="12" height="12" rx="2" fill="{COLORS[name]}"/>'
        yield f'<text x="{x + 17:.0f}" y="50">{escape(title)}</text>'
        x += 38 + 6.6 * len(title)


def _y(rate: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * rate / top


def _scale(top: float) -> Iterator[str]:
    step = next(step for step in (100, 250, 500, 1000, 2500, 5000, 10_000, 50_000) if top / step <= 6)
    for rate in range(0, int(top) + 1, step):
        y = _y(rate, top)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="scale" x="{LEFT - 8}" y="{y + 4:.1f}">{rate:,}</text>'


def _bars(rates: dict[str, dict[str, float]], top: float) -> Iterator[str]:
    width = GROUP * 0.86 / len(rates)
    for group, operation in enumerate(OPERATIONS):
        left = LEFT + GROUP * (group + 0.07)
        for number, (name, row) in enumerate(rates.items()):
            yield from _bar(left + number * width, width, row[operation], top, COLORS[name])
        middle_x = LEFT + GROUP * (group + 0.5)
        yield f'<text class="name" x="{middle_x:.1f}" y="{HEIGHT - BOTTOM + 22}">{operation}</text>'


def _bar(x: float, width: float, rate: float, top: float, color: str) -> Iterator[str]:
    y = _y(rate, top)
    height = HEIGHT - BOTTOM - y
    yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{height:.1f}" rx="2" fill="{color}"/>'
    yield f'<text class="figure" x="{x + width / 2 - 1:.1f}" y="{y - 4:.1f}">{_thousands(rate)}</text>'


def _thousands(rate: float) -> str:
    return f"{rate / 1000:.1f}k" if rate >= 1000 else f"{rate:.0f}"
