"""Drawing: bars to scale, and curves between two axes, as SVG that is legible in light and in dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from tests.benchmarks.written import size

WIDTH, HEIGHT = 720, 340
# Of bars: where they begin, how long the longest is, and how far apart they are.
LABEL, BAR, LINE, TOP = 140, 400, 34, 44
# Of curves: the room around them for axes and names.
LEFT, RIGHT, BOTTOM = 70, 130, 50
TICKS = 5
NAME_APART = 17
# Of each curve in light and in dark: one of a known name has its own in every picture, others the second.
COLOURS = (("#2f7d4f", "#5cc08a"), ("#b5541c", "#e8935b"), ("#3b6fb6", "#7fb0ef"), ("#8250a8", "#c39be6"))
NAMES = {"ankibak": 0, "restic": 1, "borg": 2, "borg 4 KiB": 3}
DASHES = ("none", "7 3", "2 3", "9 3 2 3")


def _style() -> str:
    light, dark = (
        "".join(f".s{number}{{stroke:{one}}}.f{number}{{fill:{one}}}" for number, one in enumerate(shade))
        for shade in zip(*COLOURS, strict=True)
    )
    dashes = "".join(f".s{number}{{stroke-dasharray:{dash}}}" for number, dash in enumerate(DASHES))
    return (
        "text{font:14px system-ui,sans-serif;fill:#222}.title{font-weight:600}rect{fill:#9aa5b1}"
        "line{stroke:#888;stroke-opacity:.35}polyline{fill:none;stroke-width:2}"
        f".ours{{fill:#2f7d4f}}{light}{dashes}"
        f"@media(prefers-color-scheme:dark){{text{{fill:#ddd}}rect{{fill:#6b7682}}.ours{{fill:#5cc08a}}{dark}}}"
    )


@dataclass(frozen=True)
class Curve:
    """What is drawn under one name: points from left to right, joined by a line or each for itself."""

    name: str
    points: Sequence[tuple[float, float]]
    joined: bool = True


def bars(title: str, values: Mapping[str, float]) -> str:
    """Return sizes drawn to scale, the smallest first."""
    most = max(values.values())
    drawn = []
    for line, (name, value) in enumerate(sorted(values.items(), key=lambda pair: pair[1])):
        y = TOP + line * LINE
        width = max(1.0, BAR * value / most)
        kind = ' class="ours"' if name == "ankibak" else ""
        drawn.append(
            f'<text x="{LABEL - 10}" y="{y + 17}" text-anchor="end">{escape(name)}</text>'
            f'<rect{kind} x="{LABEL}" y="{y}" width="{width:.1f}" height="24" rx="2"/>'
            f'<text x="{LABEL + width + 8:.1f}" y="{y + 17}">{size(value)}</text>'
        )
    return _svg(title, TOP + len(drawn) * LINE + 6, "".join(drawn))


def curves(title: str, across: str, up: str, drawn: Sequence[Curve]) -> str:
    """Return curves between two axes that begin at 0 and are named `across` and `up`."""
    points = [point for curve in drawn for point in curve.points]
    columns, rows = (_ticks(max(point[axis] for point in points)) for axis in (0, 1))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(value: float) -> float:
        return LEFT + (right - LEFT) * value / columns[-1]

    def y(value: float) -> float:
        return bottom - (bottom - TOP) * value / rows[-1]

    parts = [
        f'<line x1="{LEFT}" x2="{right}" y1="{y(row):.1f}" y2="{y(row):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y(row) + 5:.1f}" text-anchor="end">{row:,g}</text>'
        for row in rows
    ]
    parts += [
        f'<text x="{x(column):.1f}" y="{bottom + 20}" text-anchor="middle">{column:,g}</text>'
        for column in columns
    ]
    middle = f"translate(16 {(TOP + bottom) / 2}) rotate(-90)"
    parts.append(
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>'
    )
    parts.append(f'<text transform="{middle}" text-anchor="middle">{escape(up)}</text>')
    for curve in drawn:
        number = NAMES.get(curve.name, 1)
        places = [(x(each[0]), y(each[1])) for each in curve.points]
        parts.append(_joined(number, places) if curve.joined else _dots(number, places))
    for name, place in _apart({curve.name: y(curve.points[-1][1]) for curve in drawn}):
        kind = f"f{NAMES.get(name, 1)}"
        parts.append(f'<text class="{kind}" x="{right + 8}" y="{place + 5:.1f}">{escape(name)}</text>')
    return _svg(title, HEIGHT, "".join(parts))


def _ticks(most: float) -> list[float]:
    """Return round numbers from 0 to at least `most`, not many."""
    ten = 10 ** floor(log10(most / TICKS)) if most > 0 else 1
    step = next(ten * factor for factor in (1, 2, 5, 10) if ten * factor * TICKS >= most)
    return [round(number * step, 9) for number in range(max(1, ceil(most / step)) + 1)]


def _joined(number: int, places: Sequence[tuple[float, float]]) -> str:
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline class="s{number}" points="{told}"/>'


def _dots(number: int, places: Sequence[tuple[float, float]]) -> str:
    return "".join(f'<circle class="f{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places)


def _apart(ends: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return where the names of curves stand, beside their ends but not on each other."""
    found: list[tuple[str, float]] = []
    for name, end in sorted(ends.items(), key=lambda pair: -pair[1]):
        highest = found[-1][1] - NAME_APART if found else end
        found.append((name, min(end, highest)))
    return found


def _svg(title: str, height: int, drawn: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f'<title>{title}</title><style>{_style()}</style><text class="title" x="10" y="24">{title}</text>'
        f"{drawn}</svg>\n"
    )
