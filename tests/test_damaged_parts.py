"""What is damaged or not ours in a backup is told, and keeps nothing else back."""

from __future__ import annotations

import hashlib
import json

from anki_backup.repository import Repository


def test_an_index_that_lacks_a_backup_says_so(typed):
    path = typed.root / "backups" / typed.listed()[0]["id"] / "metadata.json"
    path.write_text("x")
    assert path.parent.name in typed.type("catalog", "rebuild", code=6)


def test_what_was_left_out_is_shown_and_so_is_damage_of_what_is_shown(typed):
    typed.media.mkdir()
    (typed.media / "link.jpg").symlink_to("nowhere")
    typed.type("run", "--force")
    name = typed.listed()[0]["id"]
    reason = "is a symbolic link, not a file"
    assert f"skipped\tlink.jpg\t{reason}\n" in typed.type("show", name)
    shown = json.loads(typed.type("show", name, "--json"))
    assert shown["skipped"] == [{"name": "link.jpg", "reason": reason}]
    for file, words in (("stats.json", ["show", name, "--decks"]), ("metadata.json", ["show", name])):
        path = typed.root / "backups" / name / file
        path.write_text("x")
        told = typed.type(*words, code=6)
        assert f"{file} of backup {name}" in told and told.endswith(" verify\n")


def test_damaged_statistics_keep_no_export_back(typed, tmp_path):
    name = typed.listed()[0]["id"]
    (typed.root / "backups" / name / "stats.json").write_text("x")
    for word in ("dir", "zip", "tar.zst"):
        target = tmp_path / f"out.{word}"
        assert "stats.json" in typed.type("export", name, "-o", target, "--format", word, code=6)
        assert target.exists()
    assert (tmp_path / "out.dir" / "collection.anki2").read_bytes() == typed.collection.read_bytes()


def test_a_folder_in_a_backup_that_is_not_ours_is_no_matter_for_prune(typed, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").touch()
    for backup in typed.listed():
        (typed.root / "backups" / backup["id"] / "@eaDir").mkdir()
        (typed.root / "backups" / backup["id"] / "link").symlink_to(tmp_path / "mine")
    typed.type("prune", "--yes")
    assert len(typed.listed()) == 2
    assert (tmp_path / "mine" / "precious").exists()


def test_the_content_of_media_is_hashed_not_only_what_is_stored_of_it(typed):
    typed.media.mkdir()
    for letter in (b"a", b"b"):
        (typed.media / f"{letter.decode()}.txt").write_bytes(letter * 5_000)
    typed.type("run")
    store = Repository.open(typed.root).store
    one, other = (store.path(hashlib.sha256(letter * 5_000).hexdigest()) for letter in (b"a", b"b"))
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    typed.type("verify")
    told = typed.type("verify", "--read-data", code=6)
    assert "2 findings" in told
