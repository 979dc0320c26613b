"""The makers make what they say, the peers obey, fixed figures give a fixed report; nothing is timed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from anki_backup import archives
from tests.benchmarks import bars, chart, make_collection, make_versions, report, study_hour
from tests.benchmarks.inputs import Site, Sizes, Student
from tests.benchmarks.measure import BenchmarkError, Stored, process, rotated, stored
from tests.benchmarks.peers import PROGRAMS, programs
from tests.benchmarks.scenarios import SCENARIOS, export

TINY = Sizes(notes=20, reviews=100, repeats=1, hours=1)


def counts(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as db:
        tables = ("notes", "cards", "revlog")
        return {table: db.execute(f"select count(*) from {table}").fetchone()[0] for table in tables}


def rows_of(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return [
            db.execute("select id, guid, tags, flds from notes order by id").fetchall(),
            db.execute("select id, nid, ord, due, ivl, data from cards order by id").fetchall(),
            db.execute("select * from revlog order by id").fetchall(),
        ]


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    path = tmp_path / "made" / "collection.anki2"
    path.parent.mkdir()
    make_collection.make(path, notes=20, reviews=100, media=3)
    return path


def repeat(value: float) -> dict[str, float]:
    return {"seconds": value, "cpu_seconds": value, "peak_rss_bytes": 60_000_000}


def raw_figures() -> dict[str, Any]:
    """Return figures of a run in which every bar is met but that of an untouched run against restic."""
    runs = {"ankibak": [repeat(0.4)], "restic": [repeat(1.0)], "borg": [repeat(0.8)]}
    hour = {"added_bytes": 20_000, "added_block_bytes": 24_576}
    borg_hour = {"added_bytes": 25_000_000, "added_block_bytes": 25_001_984}
    stored_bytes = {name: {"size_bytes": 35_000_000} for name in runs}
    steps = {"run, first": repeat(1.0), "export, over deltas": repeat(1.0)}
    return {
        "measured_at": "2026-11-01T12:00:00+00:00",
        "reduced": False,
        "sizes": {
            "notes": 20,
            "reviews": 100,
            "package_media": 9,
            "export_hours": 100,
            "export_newest": 48,
            "versions": 55,
            "version_notes": 6000,
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
        "scenarios": {
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
                "programs": {
                    name: [repeat(1.5)] for name in ("diff", "diff, first to last", "history", "find")
                },
            },
            "listing": {
                "backups": 30_000,
                "rebuild": repeat(9.0),
                "programs": {"ankibak": [repeat(0.2)]},
                "heavy_imports": [],
            },
            "colpkg": {
                "whole": {"ankibak": [repeat(1.5)], "anki": [repeat(1.0)]},
                "delta": {"ankibak": [repeat(1.0)], "anki": [repeat(1.0)]},
                "source": {"size_bytes": 200_000_000},
            },
            "year": {
                "stored": {"size_bytes": 170_000_000},
                "verify": repeat(500.0),
                "prune": repeat(100.0),
            },
            "decade": {
                "years": [
                    {"size_bytes": size, "newest_bytes": 80_000_000} for size in (40e6, 80e6, 100e6, 120e6)
                ],
                "exports": {"oldest": [repeat(1.0)], "newest": [repeat(1.0)]},
                "hour": repeat(2.0),
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
                "looked": [{"age": 0, "depth": 2}, {"age": 99, "depth": 40}],
                "chosen": [
                    {"age": 0, "depth": 2, "programs": {"ankibak": [repeat(0.5)], "borg": [repeat(0.5)]}},
                    {"age": 99, "depth": 40, "programs": {"ankibak": [repeat(1.0)], "borg": [repeat(0.5)]}},
                ],
            },
        },
    }


def test_the_maker_gives_the_same_rows_for_the_same_seed(collection: Path, tmp_path: Path) -> None:
    assert counts(collection) == {"notes": 20, "cards": 40, "revlog": 100}
    assert len(list((collection.parent / "collection.media").iterdir())) == 3
    again = tmp_path / "again.anki2"
    make_collection.make(again, notes=20, reviews=100, media=3)
    assert rows_of(again) == rows_of(collection)


def test_a_multiplied_collection_holds_that_many_and_is_studied_like_any_other(collection: Path) -> None:
    larger = collection.with_stem("larger")
    make_collection.multiply(collection, larger, 3)
    assert counts(larger) == {"notes": 60, "cards": 120, "revlog": 300}
    study_hour.study(larger, answers=5)
    study_hour.vacuum(larger)
    assert counts(larger)["revlog"] == 305


def test_a_student_studies_hour_after_hour_and_leaves_the_collection_closed(tmp_path: Path) -> None:
    site = Site(tmp_path / "work", tmp_path / "inputs", TINY, lambda text: None)
    profile = site.profile(site.reference())
    with Student(profile) as student:
        student.study()
        student.study()
        assert {entry.name for entry in profile.iterdir()} == {"collection.anki2", "collection.media"}
    # An hour has 60 answers, but this collection only 40 cards.
    assert counts(profile / "collection.anki2")["revlog"] == 100 + 2 * 40
    assert counts(site.reference())["revlog"] == 100


def test_versions_are_packages_a_day_apart_each_with_more_in_it(collection: Path, tmp_path: Path) -> None:
    make_versions.make(collection, tmp_path / "versions", 3)
    names = sorted(path.name for path in (tmp_path / "versions").iterdir())
    assert names == [f"backup-2025-01-0{day}-12.00.00.colpkg" for day in (1, 2, 3)]
    notes = []
    for number, name in enumerate(names):
        copy = tmp_path / f"{number}.anki2"
        with archives.Package(tmp_path / "versions" / name) as package:
            copy.write_bytes(b"".join(package.collection()))
        notes.append(counts(copy)["notes"])
    assert notes == [40, 60, 80]


@pytest.mark.parametrize("name", ["restic", "borg"])
def test_a_peer_captures_and_gives_back_the_same_bytes(name: str, collection: Path, tmp_path: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    peer = programs(tmp_path, collection.parent, (name,))[name]
    empty = peer.stored()
    captured = peer.capture()
    assert captured.seconds > 0
    assert captured.peak_rss_bytes > 1_000_000
    assert (peer.stored() - empty).size_bytes > 1000
    peer.extract("latest" if name == "restic" else "1", tmp_path / "out")
    assert (tmp_path / "out" / "collection.anki2").read_bytes() == collection.read_bytes()


def test_a_process_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="ended with 3"):
        process([sys.executable, "-c", "raise SystemExit(3)"], {}, tmp_path)


def test_all_files_are_counted_but_those_of_the_cache(tmp_path: Path) -> None:
    for name in ("objects/a", "cache/b", "objects/cache/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1234")
    assert stored(tmp_path, without=frozenset({"cache"})) == Stored(8, 8192, 2)


def test_programs_take_turns_in_going_first() -> None:
    assert [rotated("ABC", turn) for turn in range(4)] == [list("ABC"), list("BCA"), list("CAB"), list("ABC")]


def test_the_depth_of_an_export_is_the_number_of_deltas_on_the_way(tmp_path: Path) -> None:
    whole, first, second = ("a" * 64, "b" * 64, "c" * 64)
    for name, kind, base in ((whole, 2, "0" * 64), (first, 3, whole), (second, 3, first)):
        place = tmp_path / "objects" / name[:2]
        place.mkdir(parents=True)
        (place / name[2:]).write_bytes(b"akob" + bytes([kind]) + bytes(27) + bytes.fromhex(base) + bytes(4))
    assert [export.depth(tmp_path, name) for name in (whole, first, second)] == [0, 1, 2]


def test_fixed_figures_give_fixed_verdicts() -> None:
    found = bars.rows(raw_figures())
    assert [(row.bar, row.met) for row in found if not row.met] == [("≤ 0.3 × restic", False)]
    by_what = {row.what: row for row in found}
    assert by_what["`run`, one changed hour"].result == "0.50 × borg"
    assert by_what["`export`, slowest of a long history"].result == "2.00 × borg"
    assert by_what["`export`, slowest of the newest 48 hours"].result == "1.00 × borg"
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
    assert "make bench" in page
    for table in page.split("\n\n"):
        if table.startswith("|"):
            assert len({line.count("|") for line in table.strip().splitlines() if line.startswith("|")}) == 1
    assert (tmp_path / "benchmarks.svg").read_text().count("<rect") == 3


def test_a_partial_or_failed_run_still_gives_a_report() -> None:
    raw = raw_figures()
    raw["scenarios"] = {"first": raw["scenarios"]["first"], "hours": {"error": "borg ended with 2:\nno"}}
    page = report.markdown(raw)
    assert "`hours` failed: borg ended with 2:" in page
    assert "not measured" in page
    assert chart.hour_bytes(raw) == ""


def test_bench_says_what_it_can_measure() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.bench", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(name in said for name in SCENARIOS)
    assert set(PROGRAMS) == {"ankibak", "restic", "borg", "borg 4 KiB"}
