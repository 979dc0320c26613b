"""Fixed figures give a fixed report."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.benchmarks import bars, chart, pictures, record, report
from tests.benchmarks.chart import Curve
from tests.benchmarks.scenarios import SCENARIOS
from tests.conftest import ROOT

SVG = "{http://www.w3.org/2000/svg}"


def repeat(value: float) -> dict[str, float]:
    return {"seconds": value, "cpu_seconds": value, "peak_rss_bytes": 60_000_000}


def answer(taken: float, wire_bytes: int = 20_000) -> dict[str, float]:
    return {"seconds": taken, "wire_bytes": wire_bytes}


MEASURED: dict[str, Any] = {
    "at": "2026-11-01T12:00:00+00:00",
    "reduced": False,
    "sizes": {
        "notes": 20,
        "reviews": 100,
        "package_media": 9,
        "export_hours": 100,
        "export_newest": 48,
        "versions": 55,
        "version_notes": 6000,
        "backups": 30_000,
        "requests": 200,
    },
    "machine": {
        "processor": "a processor",
        "processors": 2,
        "memory_bytes": 8_000_000_000,
        "kernel": "6.1",
        "system": "Debian",
        "file_system": "ext4",
        "own_peak_rss_bytes": 20_000_000,
    },
    "versions": {"ankibak": "1", "restic": "2", "borg": "3"},
}


def raw_figures() -> dict[str, Any]:
    """Return figures of a run in which every bar is met but that of an untouched run against restic."""
    runs = {"ankibak": [repeat(0.4)], "restic": [repeat(1.0)], "borg": [repeat(0.8)]}
    hour = {"added_bytes": 20_000, "added_block_bytes": 24_576}
    borg_hour = {"added_bytes": 25_000_000, "added_block_bytes": 25_001_984}
    stored_bytes = {name: {"size_bytes": 35_000_000} for name in runs}
    steps = {"run, first": repeat(1.0), "export, over deltas": repeat(1.0)}
    scenarios = {
        "first": {"programs": runs, "stored": stored_bytes},
        "untouched": {"programs": runs},
        "hours": {
            "programs": {
                name: [repeats[0] | (hour if name == "ankibak" else borg_hour)]
                for name, repeats in runs.items()
            }
        },
        "rollback": {"programs": {"backed up": [{"seconds": 2.0}], "studied since": [{"seconds": 2.9}]}},
        "seeing": {
            "backups": 1_001,
            "programs": {name: [repeat(1.5)] for name in ("diff", "diff, first to last", "history", "find")},
        },
        "listing": {
            "backups": 30_000,
            "rebuild": repeat(9.0),
            "programs": {"ankibak": [repeat(0.2)]},
            "others": {"show": [repeat(0.3)], "runs": [repeat(0.1)]},
            "heavy_imports": [],
        },
        "serve": {
            "backups": 30_000,
            "starts": {"by itself": [{"seconds": 0.5}], "to the first page": [{"seconds": 0.7}]},
            "pages": {"home": [answer(0.3), answer(0.01)], "compare": [answer(2.0), answer(0.04)]},
            "documents": {"status": [answer(0.2), answer(0.01), answer(0.02)]},
            "slow": {"clients": 40, "requests": [{"seconds": 0.01}, {"seconds": 0.2}, {"seconds": 0.03}]},
            "downloads": {
                "tar.zst": answer(5.0, 10**9) | {"peak_rss_bytes": 77e6, "started_rss_bytes": 61e6}
            },
        },
        "colpkg": {
            "whole": {"ankibak": [repeat(1.5)], "anki": [repeat(1.0)]},
            "delta": {"ankibak": [repeat(1.0)], "anki": [repeat(1.0)]},
            "source": {"size_bytes": 200_000_000},
        },
        "year": {
            "stored": {"size_bytes": 170_000_000},
            "grown": [{"day": day, "size_bytes": 34e6 + day * 400_000} for day in range(0, 364, 7)],
            "verify": repeat(500.0),
            "prune": repeat(100.0),
        },
        "decade": {
            "years": [
                {"size_bytes": size, "newest_bytes": 80_000_000} for size in (40e6, 80e6, 100e6, 120e6)
            ],
            "exports": {"oldest": [repeat(1.0)], "newest": [repeat(1.0)]},
            "day_after": [repeat(2.0), repeat(2.5), repeat(4.0)],
        },
        "media": {"first": runs, "untouched": runs, "stored": stored_bytes},
        "adopt": {
            "newest_zstd_bytes": 6_000_000,
            "import": {"ankibak": [repeat(20.0)]},
            "stored_bytes": {"ankibak": 15_000_000, "restic": 250_000_000},
        },
        "memory": {
            "reference": {"source_bytes": 98_000_000, "steps": steps},
            "larger": {"source_bytes": 980_000_000, "steps": steps},
        },
        "export": {
            "hours": 100,
            "newest": 48,
            "grown": [{"seconds": 0.4, "added_bytes": 20_000}],
            "looked": [{"age": 0, "depth": 2, "seconds": 0.5}, {"age": 99, "depth": 40, "seconds": 1}],
            "chosen": [
                {"age": 0, "depth": 2, "programs": {"ankibak": [repeat(0.5)], "borg": [repeat(0.5)]}},
                {"age": 99, "depth": 40, "programs": {"ankibak": [repeat(1.0)], "borg": [repeat(0.5)]}},
            ],
        },
    }
    taken = {"measured": MEASURED, "took_seconds": 60.0}
    return {"schema": 2, "scenarios": {name: taken | each for name, each in scenarios.items()}}


def test_fixed_figures_give_fixed_verdicts() -> None:
    found = bars.rows(raw_figures())
    assert [(row.bar, row.met) for row in found if not row.met] == [("≤ 0.3 × restic", False)]
    by_what = {row.what: row for row in found}
    assert by_what["`run`, one changed hour"].result == "0.50 × borg"
    assert by_what["`export`, slowest of a long history"].result == "2.00 × borg"
    assert by_what["`export`, slowest of the newest 48 hours"].result == "1.00 × borg"
    # The first look, of two seconds, stands beside its bar.
    assert by_what["`serve`, the slowest kind of page"].result == "0.040 s, compare"
    assert [row.verdict for row in bars.rows({"scenarios": {}})] == ["not measured"] * len(found)


def test_the_report_is_whole_and_its_raw_figures_can_be_read_again(tmp_path: Path) -> None:
    raw = raw_figures()
    report.write(tmp_path, raw)
    page = (tmp_path / "BENCHMARKS.md").read_text()
    assert json.loads((tmp_path / "benchmarks.json").read_text()) == raw
    assert (
        "| `run`, nothing touched | ≤ 0.3 × restic | 0.400 s | 1.00 s | 0.800 s |  | 0.40 × restic | **no** |"
        in page
    )
    assert "| `show` (1 ×) | ankibak | 0.300 s |" in page
    assert "make bench" in page
    for table in page.split("\n\n"):
        if table.startswith("|"):
            assert len({line.count("|") for line in table.strip().splitlines() if line.startswith("|")}) == 1
    shown = re.findall(r"!\[.+\]\((.+)\)", page)
    assert shown == ["benchmarks.svg", "benchmarks-runs.svg", "benchmarks-year.svg", "benchmarks-export.svg"]
    assert (tmp_path / "benchmarks.svg").read_text().count("<rect") == 3


def test_a_picture_is_well_formed_has_a_title_and_tells_what_its_axes_count() -> None:
    for picture in pictures.drawn(raw_figures()["scenarios"]):
        svg = ElementTree.fromstring(picture.svg)
        assert svg.findtext(f"{SVG}title")
        texts = [text.text for text in svg.iter(f"{SVG}text")]
        assert "ankibak" in texts
        if picture.file != "benchmarks.svg":
            assert {"seconds", "MB"} & {*texts}
            assert {"hour", "days", "captured hours before the newest"} & {*texts}


def test_a_curve_ends_inside_of_its_axes_and_names_do_not_lie_on_each_other() -> None:
    drawn = [Curve(name, [(0, 0), (7, value)]) for name, value in (("a", 3.1), ("b", 3.1), ("<c>", 0.0))]
    svg = ElementTree.fromstring(chart.curves("Title", "days", "MB", drawn))
    heights = [float(text.get("y", 0)) for text in svg.iter(f"{SVG}text") if text.text in ("a", "b", "<c>")]
    assert len(heights) == 3
    assert all(abs(one - other) >= 15 for one, other in combinations(heights, 2))
    for line in svg.iter(f"{SVG}polyline"):
        places = [tuple(map(float, place.split(","))) for place in line.get("points", "").split()]
        assert all(chart.LEFT <= x <= chart.WIDTH - chart.RIGHT for x, _ in places)
        assert all(chart.TOP <= y <= chart.HEIGHT - chart.BOTTOM for _, y in places)


def test_a_partial_or_failed_run_still_gives_a_report(tmp_path: Path) -> None:
    raw = raw_figures()
    failed = {"measured": MEASURED, "took_seconds": 1.0, "error": "borg ended with 2:\nno"}
    raw["scenarios"] = {"first": raw["scenarios"]["first"], "hours": failed}
    page = report.markdown(raw)
    assert "`hours` failed: borg ended with 2:" in page
    assert "not measured" in page
    report.write(tmp_path, raw_figures())
    report.write(tmp_path, raw)
    assert list(tmp_path.glob("*.svg")) == []


def test_a_later_sitting_replaces_what_it_measured_and_nothing_else(tmp_path: Path) -> None:
    report.write(tmp_path, raw_figures())
    later = {"measured": MEASURED | {"at": "2026-12-01T12:00:00+00:00"}, "took_seconds": 5.0}
    year = {"stored": {"size_bytes": 99_000_000}, "verify": repeat(1.0), "prune": repeat(1.0)}
    now = {"scenarios": {"year": later | year, "first": later | {"error": "no"}}}
    both = record.merged(record.read(tmp_path), now)
    assert list(both["scenarios"]) == list(SCENARIOS)
    assert both["scenarios"] == raw_figures()["scenarios"] | {"year": now["scenarios"]["year"]}
    page = report.markdown(both)
    assert "| `year` | 2026-12-01T12:00:00+00:00 | 5.00 s | machine 1 | programs 1 |" in page
    assert "| `first` | 2026-11-01T12:00:00+00:00 | 60.0 s | machine 1 | programs 1 |" in page


def test_a_record_that_said_once_where_it_was_measured_says_so_of_each_scenario(tmp_path: Path) -> None:
    shared = {name: value for name, value in MEASURED.items() if name != "at"}
    old = {
        "schema": 1,
        "measured_at": MEASURED["at"],
        **shared,
        "scenarios": {"first": {"took_seconds": 5.0}},
    }
    (tmp_path / record.FILE).write_text(json.dumps(old))
    assert record.read(tmp_path)["scenarios"] == {"first": {"measured": MEASURED, "took_seconds": 5.0}}


def test_the_published_page_says_what_its_raw_figures_say(tmp_path: Path) -> None:
    report.write(tmp_path / "docs", record.read(ROOT / "docs"))
    for path in (tmp_path / "docs").iterdir():
        same = path.read_bytes() == (ROOT / "docs" / path.name).read_bytes()
        assert same, f"docs/{path.name} is not what `python -m tests.benchmarks.report` writes"
