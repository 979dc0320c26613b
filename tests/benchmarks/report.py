"""The report: `BENCHMARKS.md`, its picture, and the raw figures as JSON. Pure but for `write`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import bars, chart
from tests.benchmarks.bars import Raw, Repeats, Row, seconds, size
from tests.benchmarks.measure import middle

PROGRAMS = ("restic", "borg", "borg 4 KiB")

HEAD = """# Benchmarks

ankibak beside restic and borg, on the same files, in one run of `make bench`. A time is that of the
whole process, from its start to its end, as the median of the repeats; a ratio is that of two medians. KB
and MB are powers of 1,000. The raw figures, every repeat of every process, are in
[benchmarks.json](benchmarks.json).

"""

REDUCED = """**This was a reduced run, with fewer hours, files or repeats than the bars speak of.**

"""

METHOD = """
## How it is measured

- **The collection** is made by `tests/benchmarks/make_collection.py` from a fixed seed: {notes:,} notes,
  {cards:,} cards, {reviews:,} reviews. **One hour** is 60 answers and 3 edited notes through Anki's own
  scheduler (`tests/benchmarks/study_hour.py`); Anki closes the collection before it is captured.
- **Side by side**: all programs see the very same folder, in turns (A B C, B C A, ...), never two at a time.
  What earlier processes left unwritten is synced to disk before each.
- **Bytes** are the sizes of all files of a repository: objects, manifests, catalog and events. Caches are not
  counted, neither the peers' nor our `cache/`, which is expendable.
- **Memory** is the peak resident size that the kernel reports for the process (`wait4`). The one who measures
  stays small, because a child begins with its parent's peak: {own}.
- **The files are in the page cache**, as they are right after study; no figure is one of a cold disk.
- **The peers** are used as their manuals begin: `restic backup .` and `borg create -C zstd,3 ::NAME .`, borg
  without encryption. "borg 4 KiB" adds `--chunker-params fixed,4096`, its best case for a database. Their
  `init` is not measured, ours is part of the first run. borg reads the newest file of a folder again even
  if nothing touched it, so the one collection of an untouched folder is never in its cache of files; "beside
  a newer file" is borg without that handicap.
- **`export`**: after {export_hours:,} captured hours, each of the newest {newest} and a sample of the others
  is exported once and its SHA-256 compared; the slowest, the deepest and the oldest are then measured
  beside `borg extract` from a repository that holds those very files.
- **`import`**: {versions} packages as Anki's own backups are, a day of study and new notes between each, with
  a new field, a changed template and Check Database twice (`tests/benchmarks/make_versions.py`;
  {version_notes:,} notes). The peers capture each collection unpacked, which is their best case: a package
  hides from them what didn't change. The newest collection packed alone (zstd 3) is the measure.
- **`colpkg`**: the profile has {package_media:,} media files. Anki's time is that of its call to export,
  in a process that has loaded its library and opened the collection; ours is that of a whole process.

## Repeat it

```
make bench                                   # everything; replaces this page and benchmarks.json
make bench ARGS='--quick'                    # a few minutes; fewer hours, files and repeats, prints the table
make bench ARGS='--only hours --out /tmp/b'  # one of: {names}
```
"""


def write(folder: Path, raw: Raw) -> None:
    """Write the page, the raw figures and, where hours were measured, the picture into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n")
    (folder / "BENCHMARKS.md").write_text(markdown(raw))
    if picture := chart.hour_bytes(raw):
        (folder / "benchmarks.svg").write_text(picture)


def markdown(raw: Raw) -> str:
    """Return the page."""
    picture = "![bytes that an hour of study adds](benchmarks.svg)\n\n" if chart.hour_bytes(raw) else ""
    parts = [
        HEAD,
        REDUCED if raw["reduced"] else "",
        picture,
        table(bars.rows(raw)),
        *_details(raw["scenarios"]),
        _setting(raw),
        _method(raw),
    ]
    return "".join(parts)


def table(rows: Iterable[Row]) -> str:
    """Return the table of bars."""
    return _table(
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


def _details(scenarios: Mapping[str, Raw]) -> Iterator[str]:
    measured = {name: figures for name, figures in scenarios.items() if "error" not in figures}
    for name, figures in scenarios.items():
        if "error" in figures:
            yield f"\n`{name}` failed: {figures['error'].splitlines()[0]}\n"
    if repeated := list(_repeated(measured)):
        header = ("", "program", "median", "fastest", "slowest", "processor", "peak memory")
        yield "\n## Processes\n\n" + _table(header, repeated)
    if stored := list(_stored(measured)):
        yield "\n## Bytes\n\n" + _table(("repository", "ankibak", *PROGRAMS), stored)
    if "export" in measured:
        yield from _export(measured["export"])
    if "memory" in measured:
        yield from _memory(measured["memory"])
    if "listing" in measured:
        count, rebuilt = measured["listing"]["backups"], measured["listing"]["rebuild"]
        yield f"\n`catalog rebuild` of {count:,} backups: {seconds(rebuilt['seconds'])},"
        yield f" {size(rebuilt['peak_rss_bytes'])} peak memory.\n"


def _repeated(measured: Mapping[str, Raw]) -> Iterator[Sequence[str]]:
    sources = (
        ("first run, no media", "first", "programs"),
        ("nothing touched", "untouched", "programs"),
        ("nothing touched, beside a newer file", "untouched", "beside_newer"),
        ("one changed hour", "hours", "programs"),
        ("first run, media", "media", "first"),
        ("nothing touched, media", "media", "untouched"),
        ("colpkg, a whole collection", "colpkg", "whole"),
        ("colpkg, over deltas", "colpkg", "delta"),
        ("`list`", "listing", "programs"),
        ("`import` of all packages", "adopt", "import"),
    )
    for label, scenario, key in sources:
        repeats: Repeats = measured.get(scenario, {}).get(key, {})
        for name, each in repeats.items():
            taken = [figures["seconds"] for figures in each]
            yield (
                f"{label} ({len(taken)} ×)" if name == next(iter(repeats)) else "",
                name,
                *map(seconds, (middle(each), min(taken), max(taken), middle(each, "cpu_seconds"))),
                size(max(figures["peak_rss_bytes"] for figures in each)),
            )


def _stored(measured: Mapping[str, Raw]) -> Iterator[Sequence[str]]:
    names = ("ankibak", *PROGRAMS)
    for label, scenario in (
        ("after the first run, no media", "first"),
        ("after the first run, media", "media"),
    ):
        stored = measured.get(scenario, {}).get("stored", {})
        if stored:
            yield label, *(size(stored[name]["size_bytes"]) if name in stored else "" for name in names)
    hours = measured.get("hours", {}).get("programs", {})
    for label, key in (
        ("one hour, mean", "added_bytes"),
        ("one hour, mean, blocks on disk", "added_block_bytes"),
    ):
        if hours:
            means = {name: sum(hour[key] for hour in each) / len(each) for name, each in hours.items()}
            yield label, *(size(means[name]) if name in means else "" for name in names)


def _export(figures: Raw) -> Iterator[str]:
    grown = [hour["added_bytes"] for hour in figures["grown"]]
    header = ("backup", "deltas", "ankibak", "borg", "ratio")
    lines = []
    for each in figures["chosen"]:
        ours, theirs = (middle(each["programs"][name]) for name in ("ankibak", "borg"))
        label = f"{each['age']:,} hours before the newest" if each["age"] else "newest"
        lines.append((label, str(each["depth"]), seconds(ours), seconds(theirs), bars.times(ours / theirs)))
    yield f"\n## Export out of {figures['hours']:,} hours\n\n" + _table(header, lines)
    yield (
        f"\nThe repository grew by {size(sum(grown) / len(grown))} an hour over these hours;"
        f" the longest chain that was met had {max(each['depth'] for each in figures['looked'])} deltas.\n"
    )


def _memory(figures: Raw) -> Iterator[str]:
    header = ("peak memory", *(size(figures[name]["source_bytes"]) for name in ("reference", "larger")))
    reference, larger = (figures[name]["steps"] for name in ("reference", "larger"))
    lines = [
        (step, size(reference[step]["peak_rss_bytes"]), size(larger[step]["peak_rss_bytes"]))
        for step in reference
    ]
    yield "\n## Memory\n\n" + _table(header, lines)


def _setting(raw: Raw) -> str:
    machine = raw["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in raw["versions"].items())
    return (
        f"\n## Where\n\nMeasured at {raw['measured_at']} on {machine['processors']} processors"
        f" ({machine['processor']}), {size(machine['memory_bytes'])} of memory, {machine['file_system']},"
        f" {machine['system']}, Linux {machine['kernel']}.\n\n{versions}.\n"
    )


def _method(raw: Raw) -> str:
    sizes: Mapping[str, Any] = raw["sizes"]
    return METHOD.format(
        notes=sizes["notes"],
        cards=2 * sizes["notes"],
        reviews=sizes["reviews"],
        export_hours=sizes["export_hours"],
        package_media=sizes["package_media"],
        newest=sizes["export_newest"],
        versions=sizes["versions"],
        version_notes=sizes["version_notes"],
        own=size(raw["machine"]["own_peak_rss_bytes"]),
        names=", ".join(raw["scenarios"]),
    )


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ("---",) * len(header)
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *lines))
