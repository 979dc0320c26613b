"""The tables below the bars: what was measured of each process and repository, in the words of the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import mean

from tests.benchmarks.judges import Raw, Repeats, later
from tests.benchmarks.measure import middle
from tests.benchmarks.written import seconds, size, times

PROGRAMS = ("restic", "borg", "borg 4 KiB")


def details(scenarios: Mapping[str, Raw]) -> Iterator[str]:
    measured = {name: figures for name, figures in scenarios.items() if "error" not in figures}
    for name, figures in scenarios.items():
        if "error" in figures:
            yield f"\n`{name}` failed: {figures['error'].splitlines()[0]}\n"
    if repeated := list(_repeated(measured)):
        header = ("", "program", "median", "fastest", "slowest", "processor", "peak memory")
        yield "\n## Processes\n\n" + table(header, repeated)
    if stored := list(_stored(measured)):
        yield "\n## Bytes\n\n" + table(("repository", "ankibak", *PROGRAMS), stored)
    if "hours" in measured:
        yield from _hours(measured["hours"]["programs"])
    if "export" in measured:
        yield from _export(measured["export"])
    if "memory" in measured:
        yield from _memory(measured["memory"])
    if "serve" in measured:
        yield from _serve(measured["serve"])
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
        ("", "listing", "others"),
        ("`import` of all packages", "adopt", "import"),
    )
    for label, scenario, key in sources:
        repeats: Repeats = measured.get(scenario, {}).get(key, {})
        for name, each in repeats.items():
            taken = [figures["seconds"] for figures in each]
            # Others of our commands have their own names, where programs are beside each other.
            what, program = (f"`{name}`", "ankibak") if key == "others" else (label, name)
            yield (
                f"{what} ({len(taken)} ×)" if key == "others" or name == next(iter(repeats)) else "",
                program,
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


def _hours(programs: Mapping[str, Sequence[Raw]]) -> Iterator[str]:
    header = ("one changed hour", "bytes added, mean", "largest", "blocks on disk, mean", "seconds")
    lines = []
    for name, each in programs.items():
        added, blocks = ([hour[key] for hour in each] for key in ("added_bytes", "added_block_bytes"))
        lines.append((name, *map(size, (mean(added), max(added), mean(blocks))), seconds(middle(each))))
    yield "\n" + table(header, lines)


def _export(figures: Raw) -> Iterator[str]:
    grown = [hour["added_bytes"] for hour in figures["grown"]]
    header = ("backup", "deltas", "ankibak", "borg", "ratio")
    lines = []
    for each in figures["chosen"]:
        ours, theirs = (middle(each["programs"][name]) for name in ("ankibak", "borg"))
        label = f"{each['age']:,} hours before the newest" if each["age"] else "newest"
        lines.append((label, str(each["depth"]), seconds(ours), seconds(theirs), times(ours / theirs)))
    yield f"\n## Export out of {figures['hours']:,} hours\n\n" + table(header, lines)
    yield (
        f"\nThe repository grew by {size(sum(grown) / len(grown))} an hour over these hours;"
        f" the longest chain that was met had {max(each['depth'] for each in figures['looked'])} deltas.\n"
    )


def _serve(figures: Raw) -> Iterator[str]:
    header = ("", "first look", "median after it", "slowest after it", "on the wire, largest")
    kinds = {f"page: {kind}": each for kind, each in figures["pages"].items()}
    kinds |= {f"API: {kind}": each for kind, each in figures["documents"].items()}
    lines = [
        (kind, *map(seconds, (each[0]["seconds"], middle(later(each)), slowest(later(each)))), largest(each))
        for kind, each in kinds.items()
    ]
    slow = figures["slow"]
    beside = f"home, while {slow['clients']} slow clients stall"
    lines.append((beside, "", seconds(middle(slow["requests"])), seconds(slowest(slow["requests"])), ""))
    yield f"\n## The web view on {figures['backups']:,} backups\n\n" + table(header, lines)
    header = ("download", "seconds", "on the wire", "peak memory", "of that, before it")
    lines = [
        (
            form,
            seconds(each["seconds"]),
            *map(size, (each["wire_bytes"], each["peak_rss_bytes"], each["started_rss_bytes"])),
        )
        for form, each in figures["downloads"].items()
    ]
    yield "\n" + table(header, lines)
    starts = ", ".join(f"{seconds(middle(each))} {name}" for name, each in figures["starts"].items())
    yield f"\nFrom its start to its first answer: {starts}.\n"


def _memory(figures: Raw) -> Iterator[str]:
    header = ("peak memory", *(size(figures[name]["source_bytes"]) for name in ("reference", "larger")))
    reference, larger = (figures[name]["steps"] for name in ("reference", "larger"))
    lines = [
        (step, size(reference[step]["peak_rss_bytes"]), size(larger[step]["peak_rss_bytes"]))
        for step in reference
    ]
    yield "\n## Memory\n\n" + table(header, lines)


def slowest(repeats: Iterable[Mapping[str, float]]) -> float:
    """Return the longest of these times."""
    return max(each["seconds"] for each in repeats)


def largest(answers: Iterable[Mapping[str, float]]) -> str:
    """Write the size of the largest of these answers."""
    return size(max(each["wire_bytes"] for each in answers))


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ("---",) * len(header)
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *lines))
