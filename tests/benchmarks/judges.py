"""How the raw figures of each scenario stand against its bars, in the order of the promises in `bars`.

Times are medians, ratios are ratios of medians; KB and MB are powers of 1,000,
the stricter reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import mean
from typing import Any

from tests.benchmarks.measure import middle
from tests.benchmarks.written import seconds, size, times

HOUR_BYTES = 24_000
MEMORY_BYTES = 200_000_000
# Of a collection that is ten times as large: not growing with it.
GROWN = 1.25
PACKAGE_MEMORY_BYTES = 150_000_000
LIST_S = 0.25
SEEING_S = {"diff": 2.0, "diff, first to last": 2.0, "history": 5.0, "find": 20.0}
ADOPTED = 3
ROLLBACK_S = 3.0
YEAR_BYTES = 280_000_000
VERIFY_S = 600.0
PRUNE_S = 150.0
HOURS_PRUNE_S = 3.0
DECADE = 5
GROWTH_BYTES = 30_000_000
PAGE_S = 0.05
PAGE_BYTES = 60_000
DOWNLOAD_MEMORY_BYTES = 90_000_000
START_S = 0.6

Raw = Mapping[str, Any]
Repeats = Mapping[str, Sequence[Mapping[str, float]]]
Result = tuple[Mapping[str, str], str, bool] | tuple[Mapping[str, str], str, bool, bool]


def group(figures: Raw, newest: bool) -> list[Raw]:
    """Return the exports that were measured beside borg: of the newest hours, or of all."""
    return [each for each in figures["chosen"] if not newest or each["age"] < figures["newest"]]


def worst(steps: Mapping[str, Mapping[str, float]], command: str) -> float:
    """Return the largest peak memory among the steps of one command."""
    return max(figures["peak_rss_bytes"] for step, figures in steps.items() if step.startswith(command))


def _against(repeats: Repeats, peer: str, limit: float, aim: float | None = None) -> Result:
    medians = {name: middle(each) for name, each in repeats.items()}
    ratio = medians["ankibak"] / medians[peer]
    shown = {name: seconds(value) for name, value in medians.items()}
    if aim is None:
        return shown, f"{times(ratio)} {peer}", ratio <= limit
    return shown, f"{times(ratio)} {peer}", ratio <= limit, ratio <= aim


def _within(value: float, limit: float, write: Callable[[float], str], told: str = "") -> Result:
    return {"ankibak": write(value)}, f"{write(value)}{told}", value <= limit


def hours(figures: Raw) -> Iterator[Result]:
    added = {
        name: mean(each["added_bytes"] for each in repeats) for name, repeats in figures["programs"].items()
    }
    shown = {name: size(value) for name, value in added.items()}
    yield shown, size(added["ankibak"]), added["ankibak"] <= HOUR_BYTES
    yield _against(figures["programs"], "borg", 1.25, aim=1.0)


def untouched(figures: Raw) -> Iterator[Result]:
    yield _against(figures["programs"], "borg", 0.6)
    yield _against(figures["programs"], "restic", 0.3)


def first(figures: Raw) -> Iterator[Result]:
    yield _against(figures["programs"], "borg", 1.25)


def export(figures: Raw) -> Iterator[Result]:
    for newest, limit in ((True, 1.5), (False, 3.0)):
        compared = [_against(each["programs"], "borg", limit) for each in group(figures, newest)]
        # The ratio stands first in its text, and all end alike.
        yield max(compared, key=lambda result: float(result[1].split()[0]))


def colpkg(figures: Raw) -> Iterator[Result]:
    for form in ("whole", "delta"):
        yield _against(figures[form], "anki", 2.0)
    peak = max(each["peak_rss_bytes"] for form in ("whole", "delta") for each in figures[form]["ankibak"])
    label = f"{size(peak)} for {size(figures['source']['size_bytes'])}"
    yield {"ankibak": size(peak)}, label, peak <= PACKAGE_MEMORY_BYTES


def media(figures: Raw) -> Iterator[Result]:
    yield _against(figures["first"], "restic", 0.8)
    yield _against(figures["untouched"], "restic", 0.5)


def memory(figures: Raw) -> Iterator[Result]:
    for command in ("run", "export"):
        reference, larger = (worst(figures[name]["steps"], command) for name in ("reference", "larger"))
        label = f"{size(reference)} for {size(figures['reference']['source_bytes'])}"
        yield {"ankibak": size(reference)}, label, reference <= MEMORY_BYTES
        label = (
            f"{size(larger)} for {size(figures['larger']['source_bytes'])}, {times(larger / reference)} that"
        )
        yield {"ankibak": size(larger)}, label, larger <= min(MEMORY_BYTES, GROWN * reference)


def listing(figures: Raw) -> Iterator[Result]:
    taken, heavy = middle(figures["programs"]["ankibak"]), figures["heavy_imports"]
    imports = f"imports {', '.join(heavy)}" if heavy else "imports nothing heavy"
    yield {"ankibak": seconds(taken)}, f"{seconds(taken)}, {imports}", taken <= LIST_S and not heavy


def rollback(figures: Raw) -> Iterator[Result]:
    for state in ("backed up", "studied since"):
        yield _within(middle(figures["programs"][state]), ROLLBACK_S, seconds)


def adopt(figures: Raw) -> Iterator[Result]:
    stored, newest = figures["stored_bytes"], figures["newest_zstd_bytes"]
    ratio = stored["ankibak"] / newest
    shown = {name: size(value) for name, value in stored.items()}
    yield shown, f"{times(ratio)} the newest one, {size(newest)}", ratio <= ADOPTED


def seeing(figures: Raw) -> Iterator[Result]:
    for name, limit in SEEING_S.items():
        yield _within(middle(figures["programs"][name]), limit, seconds)


def year(figures: Raw) -> Iterator[Result]:
    yield _within(figures["stored"]["size_bytes"], YEAR_BYTES, size)
    for step, limit in (("verify", VERIFY_S), ("prune", PRUNE_S)):
        yield _within(figures[step]["seconds"], limit, seconds)
    yield _within(figures["prune"]["peak_rss_bytes"], MEMORY_BYTES, size)


def decade(figures: Raw) -> Iterator[Result]:
    years = figures["years"]
    last = years[-1]
    ratio = last["size_bytes"] / last["newest_bytes"]
    yield {"ankibak": size(last["size_bytes"])}, f"{times(ratio)} the newest", ratio <= DECADE
    # In life every year ends with weeks, days and hours; here the last one alone does.
    alike = years[1:-1] if len(years) > 3 else years
    grown = [after["size_bytes"] - before["size_bytes"] for before, after in pairwise(alike)]
    told = f" on average, {size(min(grown))} to {size(max(grown))}"
    yield _within(mean(grown), GROWTH_BYTES, size, told)
    oldest, newest = (middle(figures["exports"][name]) for name in ("oldest", "newest"))
    yield {"ankibak": seconds(oldest)}, f"{times(oldest / newest)} the newest", oldest <= 1.5 * newest
    slowest = max(each["seconds"] for each in figures["day_after"])
    told = f", the slowest {seconds(slowest)}"
    yield _within(middle(figures["day_after"]), HOURS_PRUNE_S, seconds, told)


def serve(figures: Raw) -> Iterator[Result]:
    """Hold the slowest and the largest of all kinds against the bars, each after its first look."""
    answers = {"pages": figures["pages"], "documents": figures["documents"]}
    for kinds in answers.values():
        taken, kind = max((middle(later(each)), kind) for kind, each in kinds.items())
        yield _within(taken, PAGE_S, seconds, f", {kind}")
    sizes = [
        (max(answer["wire_bytes"] for answer in each), kind)
        for kinds in answers.values()
        for kind, each in kinds.items()
    ]
    yield _within(max(sizes)[0], PAGE_BYTES, size, f", {max(sizes)[1]}")
    yield _within(middle(figures["slow"]["requests"]), PAGE_S, seconds)
    download = figures["downloads"]["tar.zst"]
    told = f" for {size(download['wire_bytes'])}"
    yield _within(download["peak_rss_bytes"], DOWNLOAD_MEMORY_BYTES, size, told)
    yield _within(middle(figures["starts"]["by itself"]), START_S, seconds)


def later(repeats: Sequence[Mapping[str, float]]) -> Sequence[Mapping[str, float]]:
    """Return the requests after the first look, which may have to reckon what is then remembered."""
    return repeats[1:] or repeats
