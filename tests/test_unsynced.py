"""What the disk refused to make durable is thrown away: its pages may be gone, though they read as clean."""

from __future__ import annotations

import errno
import os

import pytest

from anki_backup import durable, prune
from anki_backup.errors import StorageError
from anki_backup.objects import ObjectStore
from anki_backup.prune import Verdict
from anki_backup.repack import repack
from anki_backup.settings import Retention
from tests.histories import HOUR, Histories
from tests.homes import Home

refusing = OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def home(tmp_path, made):
    return Home(tmp_path, made)


def refused(path):
    if "/objects" in str(path):
        raise refusing
    return True


@pytest.mark.parametrize("few", [True, False])
def test_nothing_is_left_of_a_run_whose_objects_could_not_be_synced(home, few, monkeypatch):
    if not few:
        for number in range(durable.FEW):
            (home.folder / "collection.media" / f"{number}.jpg").write_bytes(b"%d" % number)
        monkeypatch.setattr(durable, "_syncfs", lambda root: refused(root / "objects"))
    with monkeypatch.context() as disk:
        disk.setattr(durable, "sync_file", refused)
        failed = home.run()
    assert isinstance(failed.error, StorageError) and home.objects() == {}
    monkeypatch.undo()
    assert home.run().run.outcome == "created" and home.is_sound()


def test_what_stood_there_before_stays(home, monkeypatch):
    old = home.run()
    kept = home.objects()
    with monkeypatch.context() as disk:
        disk.setattr(durable, "sync_file", refused)
        assert home.run("UPDATE notes SET tags = 'x'").error
    assert home.objects() == kept and home.given_back(old.backup)


def test_an_object_that_took_the_place_of_a_damaged_one_is_not_taken_back(home):
    backup = home.run().backup
    store = home.repository.store
    path = store.path(backup.collection_sha256)
    content = home.given_back(backup)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    store.put_blocks(backup.collection_sha256, len(content), [content])
    store.discard(backup.collection_sha256)
    assert home.given_back(backup) == content


def test_the_next_source_syncs_the_folders_that_it_shares_with_one_that_failed(home, monkeypatch):
    home.run()
    store = home.repository.store
    name = store.put(b"one")
    with monkeypatch.context() as disk:
        disk.setattr(durable, "sync_file", refused)
        with pytest.raises(StorageError):
            store.flush()
    assert not store.has(name)
    store.put(b"one")
    assert str(store.folder) in store.batch.hand_over()[1]


def test_a_prune_deletes_nothing_that_new_forms_stood_on_before_these_are_on_disk(tmp_path, monkeypatch):
    histories = Histories(tmp_path / "repository")
    for _ in range(40):
        histories.back_up()
        histories.now += HOUR
    goes = [Verdict(backup=name, keep=False, reasons=[]) for name in sorted(histories.copies)[1:38:2]]
    removed, asked = [], []

    def sync(path):
        if "/objects/" in str(path) and not str(path).endswith(durable.PART):
            asked.append(path)
            raise refusing

    def repacking(*args):
        with monkeypatch.context() as disk:
            disk.setattr(durable, "sync_file", sync)
            disk.setattr(ObjectStore, "remove", lambda store, name: removed.append(name) or 0)
            return repack(*args)

    monkeypatch.setattr(prune, "repack", repacking)
    rules = histories.rules(Retention(last=0), 0.0)
    _, warnings = prune.perform(histories.repository, prune.Plan(verdicts=goes, freed_bytes=0), rules)
    assert asked and removed == [] and "input/output error" in warnings[0]
    monkeypatch.undo()
    for verdict in goes:
        del histories.copies[verdict.backup]
    histories.check()


def test_a_batch_that_failed_is_not_tried_again(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    batch, asked = durable.Batch(tmp_path), []
    batch.add(tmp_path / "file")
    monkeypatch.setattr(durable, "sync_file", lambda path: asked.append(path) or refused("/objects"))
    with pytest.raises(StorageError):
        batch.flush()
    batch.flush()
    assert len(asked) == 1
