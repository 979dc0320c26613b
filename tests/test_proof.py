"""A proof is a restore: what it records can be relied on, and what can't be restored is found."""

from __future__ import annotations

import json
import os

import pytest

from anki_backup import content, library, proof, prune
from anki_backup.errors import SourceError
from anki_backup.model import BackupStats, now
from anki_backup.settings import Retention
from tests.homes import Home
from tests.test_runs import EDIT


@pytest.fixture
def home(tmp_path, made):
    return Home(tmp_path, made)


def prove(home, limit=None):
    repository = home.repository
    prover = proof.Prover(repository)
    found = prover.prove(proof.order(repository.backups())[:limit], lambda count: None)
    return found, prover.warnings


def proven(home):
    return {backup.id for backup in home.repository.backups() if backup.verified_at}


def test_what_is_proven_was_restored_opened_and_is_recorded(home, run_ankibak):
    home.run(), home.run(EDIT)
    done = run_ankibak("-c", home.config, "verify", "--restore", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["proven"] == 2, done.stderr
    assert len(proven(home)) == 2
    shown = json.loads(run_ankibak("-c", home.config, "show", "latest", "--json").stdout)
    assert shown["verified_at"] is not None


def test_the_newest_comes_first_then_the_oldest_that_was_never_proven(home):
    ids = [home.run(f"UPDATE notes SET flds = flds || {n}").backup.id for n in range(4)]
    assert proof.order(home.repository.backups()) == [ids[3], *ids[:3]]
    prove(home, 2)
    assert proven(home) == {ids[3], ids[0]}
    assert proof.order(home.repository.backups()) == [ids[3], ids[1], ids[2], ids[0]]


def test_what_is_pruned_before_its_turn_has_not_failed(home):
    ids = [home.run(f"UPDATE notes SET flds = flds || {n}").backup.id for n in range(3)]
    repository = home.repository
    prover = proof.Prover(repository)
    rules = prune.Rules(lambda source: Retention(last=1), now)

    def advance(count):
        prune.perform(repository, prune.plan(repository, rules), rules)

    assert prover.prove(proof.order(repository.backups()), advance) == []
    assert (prover.proven, repository.history.ids()) == (1, [ids[2]])


def test_what_is_damaged_is_told_and_never_recorded(home, run_ankibak):
    backup = home.run().backup
    file = home.repository.media(backup.id)[0]
    path = home.repository.store.path(file.sha256)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    os.chmod(path, 0o600)
    path.write_bytes(data)
    done = run_ankibak("-c", home.config, "verify", "--restore")
    assert (done.returncode, proven(home)) == (6, set())
    assert done.stdout.split("\t")[0] == backup.id and "can't be restored" in done.stdout


def refuse(*_, **__):
    raise SourceError("Anki's library can't open it")


@pytest.mark.parametrize(
    ("room", "name", "value"),
    [
        (content, "content_hash", lambda *_: "v1:" + "0" * 64),
        (library, "opened", refuse),
        (proof.collection, "check", refuse),
    ],
    ids=["other rows", "the library refuses", "SQLite refuses"],
)
def test_each_part_of_a_proof_counts(room, name, value, home, monkeypatch):
    home.run()
    monkeypatch.setattr(room, name, value)
    found, _ = prove(home)
    assert [finding.kind for finding in found] == ["restore"] and proven(home) == set()


def test_other_counts_than_the_manifest_has_are_no_proof(home, monkeypatch):
    home.run()
    repository = home.repository
    manifest = repository.manifest(repository.backups()[0].id)
    wrong = type(manifest)(
        **{name: getattr(manifest, name) for name in manifest.__struct_fields__} | {"stats": BackupStats()}
    )
    monkeypatch.setattr(type(repository), "manifest", lambda *_: wrong)
    found, _ = prove(home)
    assert "Anki's library finds" in found[0].message


def test_a_schema_of_the_future_is_passed_over_and_a_busy_repository_forgives(home, monkeypatch):
    home.run("UPDATE col SET ver = 99")
    found, warnings = prove(home)
    assert (found, proven(home)) == ([], set()) and "99" in warnings[0]


def test_a_proof_that_can_not_be_recorded_is_told(home, run_ankibak):
    home.run()
    log = home.repository.history.log
    log.rename(log.with_name("kept"))
    log.symlink_to("kept")  # the repository follows none, so it can be read and not written
    done = run_ankibak("-c", home.config, "verify", "--restore")
    assert done.returncode == 3 and "the proof could not be recorded" in done.stderr, done.stderr


def test_a_proof_that_can_not_be_recorded_is_one_all_the_same(home, monkeypatch):
    home.run()
    monkeypatch.setattr(proof, "WAIT_S", 0.0)
    with home.repository.writing("run home"):
        found, warnings = prove(home)
    assert found == [] and "could not be recorded" in warnings[0]
