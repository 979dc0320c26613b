"""The makers make what they say, and the programs that are measured obey; nothing is timed."""

from __future__ import annotations

import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from anki_backup import archives
from anki_backup.repository import Repository
from tests.benchmarks import make_backups, make_collection, make_versions, study_hour
from tests.benchmarks.inputs import Site, Sizes, Student
from tests.benchmarks.measure import BenchmarkError, Stored, process, rotated, stored
from tests.benchmarks.peers import PROGRAMS, Ankibak, programs
from tests.benchmarks.scenarios import SCENARIOS, export
from tests.benchmarks.serving import Wire
from tests.benchmarks.simple import simple

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


@pytest.mark.parametrize("name", ["a copy", "zstd --patch-from"])
def test_who_needs_no_backup_program_gets_the_same_bytes_too(name: str, tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")
    (tmp_path / "profile").mkdir()
    program = simple(tmp_path, tmp_path / "profile")[name]
    first = random.Random(1).randbytes(200_000)
    states = [first, first[:-1000] + b"changed", first[1000:]]
    for state in states:
        (tmp_path / "profile" / "collection.anki2").write_bytes(state)
        program.capture()
    size = program.stored().size_bytes
    assert size > 590_000 if name == "a copy" else 200_000 < size < 202_000
    for number, state in enumerate(states, start=1):
        program.extract(str(number), tmp_path / f"out-{number}")
        assert (tmp_path / f"out-{number}").read_bytes() == state


def test_ankis_own_backup_has_the_collection_and_leaves_the_file_alone(
    collection: Path, tmp_path: Path
) -> None:
    before = collection.read_bytes()
    program = simple(tmp_path, collection.parent)["Anki's own"]
    assert program.capture().seconds > 0
    assert program.stored().size_bytes > 1000
    assert collection.read_bytes() == before
    program.extract("1", tmp_path / "out.anki2")
    assert rows_of(tmp_path / "out.anki2") == rows_of(collection)


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


def test_bench_says_what_it_can_measure() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.bench", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(name in said for name in SCENARIOS)
    assert set(PROGRAMS) == {"ankibak", "restic", "borg", "borg 4 KiB"}


def test_made_backups_are_whole_differ_and_have_the_runs_that_made_them(
    collection: Path, tmp_path: Path
) -> None:
    ankibak = programs(tmp_path, collection.parent, ("ankibak",))["ankibak"]
    assert isinstance(ankibak, Ankibak)
    ankibak.capture()
    make_backups.make(ankibak.repository, 300)
    ankibak.command("catalog", "rebuild")
    assert ankibak.command("verify").stdout == b""
    listed = ankibak.backups()
    assert len(listed) == len({backup["id"] for backup in listed}) == 300
    assert len({backup["stats"]["revlog"] for backup in listed}) > 1
    assert [backup["sequence"] for backup in listed] == list(range(300, 0, -1))
    runs = Repository.open(ankibak.repository).runs()
    assert [run.backup for run in runs if run.outcome == "created"] == [each["id"] for each in listed]
    assert {run.outcome for run in runs} == {"created", "skipped", "failed"}


@pytest.mark.parametrize("chunked", [False, True])
def test_every_byte_of_an_answer_is_counted_however_it_comes(chunked: bool) -> None:
    body = b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n" if chunked else b"hello!"
    kind = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 6"
    answer = b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n\r\n" + body

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            for _ in range(2):
                connection.recv(10_000)
                for at in range(0, len(answer), 7):
                    connection.sendall(answer[at : at + 7])

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve)
        serving.start()
        with Wire(listening.getsockname()[1]) as wire:
            found = [wire.get("/") for _ in range(2)]
        serving.join()
    assert [(each.status, each.wire_bytes) for each in found] == [(200, len(answer))] * 2
