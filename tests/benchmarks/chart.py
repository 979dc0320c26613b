"""The picture of the report: what one hour of study adds to each repository, drawn to scale."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from statistics import mean
from typing import Any

from tests.benchmarks.bars import size

WIDTH = 720
LABEL = 110
BAR = 420
LINE = 34
TOP = 44

STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#222}.title{font-weight:600}"
    "rect{fill:#9aa5b1}.ours{fill:#2f7d4f}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}rect{fill:#6b7682}.ours{fill:#5cc08a}}"
)


def hour_bytes(raw: Mapping[str, Any]) -> str:
    """Return an SVG of the bytes that one hour adds, or nothing if no hours were measured."""
    programs = raw["scenarios"].get("hours", {}).get("programs")
    if not programs:
        return ""
    means = {name: mean(hour["added_bytes"] for hour in hours) for name, hours in programs.items()}
    most = max(means.values())
    bars = []
    for line, (name, value) in enumerate(sorted(means.items(), key=lambda pair: pair[1])):
        y = TOP + line * LINE
        width = max(1.0, BAR * value / most)
        kind = ' class="ours"' if name == "ankibak" else ""
        bars.append(
            f'<text x="{LABEL - 10}" y="{y + 17}" text-anchor="end">{escape(name)}</text>'
            f'<rect{kind} x="{LABEL}" y="{y}" width="{width:.1f}" height="24" rx="2"/>'
            f'<text x="{LABEL + width + 8:.1f}" y="{y + 17}">{size(value)}</text>'
        )
    height = TOP + len(bars) * LINE + 6
    title = "What one hour of study adds to the repository"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f'<title>{title}</title><style>{STYLE}</style><text class="title" x="10" y="24">{title}</text>'
        f"{''.join(bars)}</svg>\n"
    )
