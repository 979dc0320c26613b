"""A lost `repository.json` costs nothing: each manifest names its repository."""

from __future__ import annotations

import shutil

import pytest

from anki_backup import identity
from anki_backup.errors import DamageError
from tests.homes import Home
from tests.typed_home import Home as TypedHome


def test_a_damaged_or_missing_repository_json_keeps_nobody_from_reading_and_is_written_anew(typed):
    """Each manifest names its repository."""
    path = typed.root / "repository.json"
    good, before = path.read_bytes(), typed.listed()
    for make in (path.unlink, lambda: path.write_text("x"), lambda: path.write_text("")):
        make()
        assert typed.listed() == before
        assert "repository.json" in typed.finding()
        assert "written anew" in typed.type("run", "--force", code=3)
        assert path.read_bytes() == good
        typed.type("verify")
        before = typed.listed()


def test_a_damaged_repository_json_of_an_empty_repository_is_told_by_its_path(typed):
    shutil.rmtree(typed.root / "backups")
    (typed.root / "repository.json").write_text("x")
    told = typed.type("list", code=6)
    assert f"{typed.root}/repository.json is not the JSON" in told and "from a copy" in told


def test_a_format_to_come_is_no_damage_however_it_is_sealed(typed):
    path = typed.root / "repository.json"
    path.write_text('{"format":2,"id":"x","seal":"y"}')
    for word in ("run", "list", "verify"):
        assert "has format 2" in typed.type(word, code=10)
    assert "seal" in path.read_text()


def test_a_foreign_manifest_makes_no_repository_of_its_own(typed, tmp_path, made, run_ankibak):
    (tmp_path / "other").mkdir()
    other = TypedHome(tmp_path / "other", run_ankibak)
    other.profile.mkdir()
    shutil.copy(made, other.collection)
    name = other.back_up()
    foreign = typed.root / "backups" / "2099-01-01T00-00-00Z"
    shutil.copytree(other.root / "backups" / name, foreign)
    good = (typed.root / "repository.json").read_bytes()
    (typed.root / "repository.json").unlink()
    typed.type("run", code=3)
    assert (typed.root / "repository.json").read_bytes() == good


def test_whoever_writes_is_told_what_was_mended(tmp_path, made):
    home, told = Home(tmp_path, made), []
    home.run()
    repository = home.repository
    (home.root / "repository.json").write_text("x")
    repository.tell = told.append
    with repository.writing("test"):
        pass
    assert told == repository.mended == [identity.MENDED]
    with repository.writing("test"):
        pass
    assert repository.mended == []


def test_a_damaged_list_of_media_is_told_by_its_backup(tmp_path, made):
    home = Home(tmp_path, made)
    backup = home.run().backup
    repository = home.repository
    path = repository.store.path(repository.manifest(backup.id).media_list)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DamageError, match=f"the list of media of {backup.id} is damaged: "):
        repository.media(backup.id)
