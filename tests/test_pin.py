"""`pin` and `unpin`: a backup is kept for ever, with a label, or no longer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from anki_backup.model import BackupManifest, BackupStats, CaptureFacts, Durations
from anki_backup.repository import Repository
from tests.conftest import RunAnkibak

AT = datetime(2026, 11, 1, 22, 30, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one backup that has everything but contents."""
    path = tmp_path / "repository"
    repository = Repository.create(path)
    with repository.writing("test"):
        manifest = BackupManifest(
            format=1,
            repository=repository.id,
            id=repository.next_place(AT)[0],
            source="home",
            sequence=1,
            origin="run",
            created_at=AT,
            content_hash="v1:" + "a" * 64,
            collection_sha256="b" * 64,
            collection_bytes=4096,
            collection_schema=18,
            media_list=None,
            media_bytes=0,
            media_files=0,
            stored_bytes=0,
            stats=BackupStats(),
            stats_sha256="",
            duration_ms=Durations(total=1200),
            program_version="0.1.0",
            host="here",
            capture=CaptureFacts(path="/x"),
        )
        repository.commit(manifest, [])
    return path


def flags(run_ankibak: RunAnkibak, root: Path) -> str:
    listed = run_ankibak("--repository", root, "list")
    return listed.stdout.rstrip("\n").split("\t")[-1]


def test_a_pin_and_its_label_are_listed_until_it_is_unpinned(run_ankibak, root):
    def ankibak(*args: str) -> str:
        done = run_ankibak("--repository", root, *args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert ankibak("pin", "latest", "--label", "before the exam") == ""
    assert flags(run_ankibak, root) == "pinned,label=before the exam"
    told = json.loads(ankibak("pin", "2026", "--json"))
    assert (told["schema"], told["pinned"], told["label"]) == (1, True, "before the exam")
    assert not json.loads(ankibak("unpin", "latest", "--json"))["pinned"]
    assert flags(run_ankibak, root) == "label=before the exam"
    ankibak("unpin", "latest")
    ankibak("pin", "latest", "--label", "")
    assert flags(run_ankibak, root) == "pinned"
    events = (root / "state" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in events] == ["pin", "unpin", "pin"]


def test_a_pin_outlives_the_catalog(run_ankibak, root):
    run_ankibak("--repository", root, "pin", "latest")
    (root / "state" / "metadata.db").unlink()
    assert flags(run_ankibak, root) == "pinned"


@pytest.mark.parametrize(
    ("words", "code"),
    [(("pin", "1999"), 5), (("pin", "latest", "--label", "two\nlines"), 2), (("unpin", "1999"), 5)],
)
def test_what_cannot_be_pinned_is_refused(run_ankibak, root, words, code):
    assert run_ankibak("--repository", root, *words).returncode == code
    assert flags(run_ankibak, root) == "-"


def test_a_catalog_that_cant_be_written_undoes_nothing(root, run_ankibak):
    """What is in the log is so, and every reader reads it."""
    catalog = root / "state" / "metadata.db"
    catalog.unlink(missing_ok=True)
    catalog.symlink_to("elsewhere")
    for word, pinned in (("pin", True), ("unpin", False)):
        done = run_ankibak("--repository", root, word, "latest", "--json")
        assert (done.returncode, json.loads(done.stdout)["pinned"]) == (3, pinned)
        assert done.stderr.startswith(f"warning: it is done, but can't write {catalog}: ")
