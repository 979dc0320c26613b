"""The report: `BENCHMARKS.md`, its pictures, and the raw figures as JSON. Pure but for `write`.

`python -m tests.benchmarks.report` writes the published page anew out of its raw figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.benchmarks import bars, details, method, pictures, record
from tests.benchmarks.bars import Row
from tests.benchmarks.details import PROGRAMS
from tests.benchmarks.inputs import CHECKOUT
from tests.benchmarks.judges import Raw
from tests.benchmarks.written import seconds, size

HEAD = """# Benchmarks

ankibak beside restic and borg, on the same files. A time is that of the
whole process, from its start to its end, as the median of the repeats; a ratio is that of two medians. KB
and MB are powers of 1,000. The raw figures, every repeat of every process, are in
[benchmarks.json](benchmarks.json).

"""

REDUCED = """**Reduced, with fewer hours, files or repeats than the bars speak of: {names}.**

"""


def write(folder: Path, raw: Raw) -> None:
    """Write the page, the raw figures and the pictures into `folder`, in place of those of another time."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("benchmarks*.svg"):
        path.unlink()
    (folder / record.FILE).write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n")
    (folder / "BENCHMARKS.md").write_text(markdown(raw))
    for picture in pictures.drawn(raw["scenarios"]):
        (folder / picture.file).write_text(picture.svg)


def markdown(raw: Raw) -> str:
    """Return the page."""
    shown = [f"![{each.instead}]({each.file})\n" for each in pictures.drawn(raw["scenarios"])]
    reduced = [name for name, each in raw["scenarios"].items() if each["measured"]["reduced"]]
    parts = [
        HEAD,
        REDUCED.format(names=", ".join(reduced)) if reduced else "",
        *(f"{picture}\n" for picture in shown[:1]),
        table(bars.rows(raw)),
        *(f"\n{picture}" for picture in shown[1:]),
        *details.details(raw["scenarios"]),
        *_where(raw["scenarios"]),
        method.text(raw["scenarios"]),
    ]
    return "".join(parts)


def table(rows: Iterable[Row]) -> str:
    """Return the table of bars."""
    return details.table(
        ("", "bar", "ankibak", *PROGRAMS, "against the bar", "met"),
        [
            (
                row.what,
                row.bar,
                *(row.figures.get(name, "") for name in ("ankibak", *PROGRAMS)),
                row.result,
                row.verdict,
            )
            for row in rows
        ],
    )


def _where(scenarios: Mapping[str, Raw]) -> Iterator[str]:
    """Say of each scenario when it was measured, on which machine and with which programs."""
    machines: dict[str, str] = {}
    programs: dict[str, str] = {}
    lines = []
    for name, each in scenarios.items():
        measured = each["measured"]
        machine = machines.setdefault(_machine(measured["machine"]), f"machine {len(machines) + 1}")
        versions = ", ".join(f"{program} {version}" for program, version in measured["versions"].items())
        program = programs.setdefault(versions, f"programs {len(programs) + 1}")
        lines.append((f"`{name}`", measured["at"], seconds(each["took_seconds"]), machine, program))
    yield "\n## When and where\n\n" + details.table(("", "begun", "took", "on", "with"), lines)
    for text, label in [*machines.items(), *programs.items()]:
        yield f"\n{label.capitalize()}: {text}.\n"


def _machine(facts: Raw) -> str:
    return (
        f"{facts['processors']} processors ({facts['processor']}), {size(facts['memory_bytes'])} of memory,"
        f" {facts['file_system']}, {facts['system']}, Linux {facts['kernel']}"
    )


if __name__ == "__main__":
    write(CHECKOUT / "docs", record.read(CHECKOUT / "docs"))
