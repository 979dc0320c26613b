"""Pictures as SVG: drawn here, coloured by the style sheet, each with words for those who can't see it.

No script and no style in them, so that the policy of the pages can be strict. Cells
of one colour are one path: a year of days is two kilobytes.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta

from markupsafe import Markup, escape

from anki_backup import figures

CELL, GAP = 11, 2
STEP = CELL + GAP
LEVELS = 4


def _svg(width: float, height: float, label: str, body: Iterable[str], kind: str, fit: str = "") -> Markup:
    ratio = f' preserveAspectRatio="{fit}"' if fit else ""
    return Markup(
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
        f'{ratio} role="img" aria-label="{escape(label)}">{"".join(body)}</svg>'
    )


def _cells(places: Mapping[str, list[tuple[float, float]]], width: float, height: float) -> Iterator[str]:
    """Yield one path a colour, of all its cells."""
    for name, corners in sorted(places.items()):
        path = "".join(f"M{x:g} {y:g}h{width:g}v{height:g}h-{width:g}z" for x, y in corners)
        yield f'<path class="{name}" d="{path}"/>'


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def heatmap(reviews: Sequence[int], last: date) -> Markup:
    """A year of days in columns of weeks, darker where more was reviewed."""
    first = last - timedelta(days=len(reviews) - 1)
    busy = sorted(number for number in reviews if number)
    marks = [busy[len(busy) * part // LEVELS] for part in range(LEVELS)] if busy else []
    offset = first.weekday()
    places: dict[str, list[tuple[float, float]]] = defaultdict(list)
    months: dict[int, str] = {}
    weeks: dict[int, int] = defaultdict(int)
    for index, number in enumerate(reviews):
        column, row = divmod(index + offset, 7)
        level = sum(number >= mark for mark in marks) if number else 0
        places[f"h{level}"].append((column * STEP, 16 + row * STEP))
        weeks[column] += number
        day = first + timedelta(days=index)
        if day.day == 1:
            months[column] = f"{day:%b}"
    width = (max(weeks) + 1) * STEP - GAP
    labels = [_text(column * STEP, 10, name) for column, name in months.items()]
    hover = [
        f'<rect class="hover" x="{column * STEP - 1:g}" y="15" width="{STEP:g}" height="{7 * STEP:g}"><title>'
        f"week of {first - timedelta(days=offset) + timedelta(weeks=column):%d %b %Y}: "
        f"{escape(figures.counted(number, 'review'))}</title></rect>"
        for column, number in weeks.items()
    ]
    label = f"Reviews a day from {first:%d %B %Y} to {last:%d %B %Y}: {sum(reviews)} in all"
    return _svg(width, 16 + 7 * STEP, label, [*labels, *_cells(places, CELL, CELL), *hover], "heatmap")


def spark(values: Sequence[float], label: str) -> Markup:
    """A line without axes; the last point is marked."""
    width, height = 120.0, 32.0
    if len(values) < 2:
        values = [*values, *values] or [0, 0]
    low, high = min(values), max(values)
    span = (high - low) or 1
    points = [
        (at * width / (len(values) - 1), height - 4 - (value - low) / span * (height - 8))
        for at, value in enumerate(values)
    ]
    if high == low:
        points = [(x, height / 2) for x, _ in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    body = [
        f'<polygon class="area" points="0,{height:g} {line} {width:g},{height:g}"/>',
        f'<polyline class="line" points="{line}"/>',
        f'<circle class="dot" cx="{min(x, width - 2.5):.1f}" cy="{y:.1f}" r="2.5"/>',
    ]
    return _svg(width, height, label, body, "spark", "xMinYMid")


def strip(hours: Mapping[tuple[int, int], str], days: Sequence[date], label: str) -> Markup:
    """Thirty days in columns, their hours in rows; a cell says what came of that hour's run."""
    wide, tall, first = 20.0, 6.0, 6.0
    places: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for column in range(len(days)):
        for hour in range(24):
            places["r-" + hours.get((column, hour), "none")].append(
                (30 + column * (wide + 2), first + hour * (tall + 1))
            )
    height = first + 24 * (tall + 1)
    labels = [_text(24, first + hour * (tall + 1) + tall + 1, f"{hour:02}", "end") for hour in (0, 6, 12, 18)]
    labels += [
        _text(30 + column * (wide + 2) + wide / 2, height + 12, f"{day.day}", "middle")
        for column, day in enumerate(days)
        if (len(days) - 1 - column) % 5 == 0
    ]
    body = [*_cells(places, wide, tall), *labels]
    return _svg(30 + len(days) * (wide + 2), height + 16, label, body, "strip")


def growth(
    times: Sequence[float],
    series: Sequence[tuple[str, Sequence[int]]],
    flags: Sequence[tuple[float, str, str]],
    label: str,
    ticks: Sequence[tuple[float, str]],
) -> Markup:
    """Areas on top of each other over time; `flags` are (time, kind, words)."""
    width, height, left = 760.0, 220.0, 48.0
    first, last = times[0], times[-1]
    span = (last - first) or 1
    top: float = max((sum(values[at] for _, values in series) for at in range(len(times))), default=0) or 1
    top = top * 1.08

    def x(time: float) -> float:
        return left + (time - first) / span * (width - left - 8)

    def y(value: float) -> float:
        return height - 24 - value / top * (height - 40)

    body = []
    for value in _round_steps(top):
        body.append(f'<path class="grid" d="M{left:g} {y(value):.1f}H{width - 8:g}"/>')
        body.append(_text(left - 8, y(value) + 4, _short(value), "end"))
    under = [0.0] * len(times)
    for number, (name, values) in enumerate(series):
        over = [low + value for low, value in zip(under, values, strict=True)]
        there = [f"{x(time):.1f},{y(value):.1f}" for time, value in zip(times, over, strict=True)]
        back = [f"{x(time):.1f},{y(value):.1f}" for time, value in zip(times, under, strict=True)]
        points = " ".join([*there, *reversed(back)])
        body.append(f'<polygon class="s{number}" points="{points}"><title>{escape(name)}</title></polygon>')
        under = over
    for time, kind, words in flags:
        at = x(min(max(time, first), last))
        body.append(
            f'<g class="flag {kind}"><title>{escape(words)}</title><path d="M{at:.1f} {height - 24:g}V14"/>'
            f'<circle cx="{at:.1f}" cy="11" r="5"/></g>'
        )
    body += [
        _text(x(time), height - 6, words, "middle") for time, words in ticks if left < x(time) < width - 30
    ]
    return _svg(width, height, label, body, "growth")


def bars(values: Sequence[int], labels: Sequence[str], label: str) -> Markup:
    """A bar for each value; every seventh has its words under it."""
    wide, height = 14.0, 120.0
    # What is overdue stands for weeks, perhaps: the days after it would be nothing beside it.
    top = max(values[1:], default=0) or max(values, default=0) or 1
    body = [_text(0, 9, figures.count(top), kind="peak")]
    for at, (value, words) in enumerate(zip(values, labels, strict=True)):
        tall = max(min(value / top, 1.0) * (height - 34), 1.0 if value else 0.0)
        kind = "bar late" if at == 0 else "bar"
        x, y = at * (wide + 4), height - 18 - tall
        body.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:.1f}" width="{wide:g}"'
            f' height="{tall:.1f}" rx="2"><title>{escape(words)}: {value}</title></rect>'
        )
        if value > top:  # broken off
            body.append(f'<path class="cut" d="M{x - 1:g} {y + 14:.1f}l{wide + 2:g} -6v4l-{wide + 2:g} 6z"/>')
        if at and at % 7 == 1:
            body.append(_text(at * (wide + 4), height - 4, words))
    return _svg(len(values) * (wide + 4), height, label, body, "bars")


def share(parts: Sequence[tuple[str, str, int]], label: str) -> Markup:
    """One bar in parts: (class, name, number)."""
    total = sum(number for _, _, number in parts) or 1
    at, body = 0.0, []
    for kind, name, number in parts:
        width = number / total * 600
        if width:
            body.append(
                f'<rect class="{kind}" x="{at:.2f}" y="0" width="{max(width - 1.5, 0.5):.2f}" height="18">'
                f"<title>{escape(name)}: {number}</title></rect>"
            )
        at += width
    return _svg(600, 18, label, body, "share", "none")


def span(begun: float, length: float, whole: float) -> Markup:
    """A bar from where it began to where it ended, on a track of the whole; beside it stands what it says."""
    wide = 600.0
    x, width = (part / (whole or 1) * wide for part in (begun, length))
    width = max(width, 2.0)
    bar = f'<rect class="bar" x="{min(x, wide - width):.2f}" y="0" width="{width:.2f}" height="8"/>'
    return Markup(
        f'<svg class="span" viewBox="0 0 {wide:g} 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="h0" width="{wide:g}" height="8"/>{bar}</svg>'
    )


def treemap(items: Sequence[tuple[str, int]], label: str) -> Markup:
    """Rectangles as large as their numbers, as square as can be (Bruls, Huizing, van Wijk, 2000)."""
    width, height = 720.0, 260.0
    total = sum(number for _, number in items)
    body = []
    sizes = [number / total * width * height for _, number in items] if total else []
    for place, ((name, number), (x, y, w, h)) in enumerate(
        zip(items, _squarified(sizes, width, height), strict=False)
    ):
        inside = ""
        if w >= 36 and h >= 24:
            inside = _text(8, 18, _fitting(name, w - 14), kind="name")
            if h >= 42 and w >= 50:
                inside += _text(8, 34, figures.count(number), kind="number")
        # An image of its own cuts off what runs over: nobody here knows how wide letters are.
        w, h = max(w - 3, 1), max(h - 3, 1)
        body.append(
            f'<svg x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}"><title>{escape(name)}: {number}'
            f'</title><rect class="t{place % 8}" width="{w:.1f}" height="{h:.1f}" rx="4"/>{inside}</svg>'
        )
    return _svg(width, height, label, body, "treemap")


def _fitting(name: str, room: float) -> str:
    """Return a deck's name, or the last part of it, or as much of that as has room."""
    whole = _shortened(name, room)
    return whole if whole == name else _shortened(name.rpartition("::")[2], room)


def _shortened(name: str, room: float) -> str:
    """Return as much of a name as has room, about."""
    width = 0.0
    for at, letter in enumerate(name):
        width += 12.5 if unicodedata.east_asian_width(letter) in "WF" else 8.2
        if width > room:
            return name[: max(at - 1, 0)] + "…"
    return name


def _squarified(
    sizes: Sequence[float], width: float, height: float
) -> list[tuple[float, float, float, float]]:
    found: list[tuple[float, float, float, float]] = []
    x = y = 0.0
    rest = list(sizes)
    while rest and width > 0 and height > 0:
        side = min(width, height)
        row = [rest[0]]
        while len(row) < len(rest) and _worst([*row, rest[len(row)]], side) <= _worst(row, side):
            row.append(rest[len(row)])
        thick = sum(row) / side
        along = 0.0
        for size in row:
            length = size / thick if thick else 0
            found.append((x, y + along, thick, length) if width >= height else (x + along, y, length, thick))
            along += length
        if width >= height:
            x, width = x + thick, width - thick
        else:
            y, height = y + thick, height - thick
        rest = rest[len(row) :]
    return found


def _worst(row: Sequence[float], side: float) -> float:
    total = sum(row)
    if not total or min(row) <= 0:
        return float("inf")
    return max(side**2 * max(row) / total**2, total**2 / (side**2 * min(row)))


def _round_steps(top: float) -> list[float]:
    """Return two to five round numbers up to `top`."""
    step = 1.0
    while top / step > 5:
        step *= 2 if str(step)[0] != "2" else 2.5
    return [step * number for number in range(1, int(top / step) + 1)]


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1000:g} k" if value >= 1000 else f"{value:g}"
