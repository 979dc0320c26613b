"""Rolling back to where nothing is: a new machine, a folder that was moved away."""

from __future__ import annotations

from tests.test_rollback import changed, home

__all__ = ["changed", "home"]


def test_a_folder_that_is_gone_is_made_again(changed):
    changed.profile.rename(changed.profile.with_name("elsewhere"))
    changed.type("rollback", changed.first, "--dry-run")
    assert not changed.profile.exists()
    told = changed.roll_back(changed.first)
    assert (told["safety"], told["path"]) == (None, str(changed.collection))
    assert changed.content() == changed.hash_of(changed.first)
    assert sorted(path.name for path in changed.profile.iterdir()) == ["collection.anki2", "collection.media"]
    assert changed.profile.stat().st_mode & 0o777 == 0o700
    assert changed.type("run").split("\t")[1] == "skipped"


def test_a_single_file_that_is_gone_is_a_file_again(changed):
    alone = changed.profile.with_name("alone.anki2")
    changed.config.write_text(changed.config.read_text().replace("User 1", alone.name))
    changed.roll_back(changed.first)
    assert alone.is_file() and (alone.with_suffix(".media") / "cat.jpg").read_bytes() == b"a cat"


def test_where_the_disk_is_not_mounted_nothing_is_made(changed):
    changed.config.write_text(changed.config.read_text().replace("User 1", "disk/Anki2/User 1"))
    (mounted := changed.profile.with_name("disk")).mkdir()
    assert "can't write" in changed.type("rollback", changed.first, "--yes", code=8)
    assert list(mounted.iterdir()) == []
