"""Export: what was backed up, byte for byte, to where it was asked for and nowhere else."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from hashlib import sha256

import pytest
from msgspec import json, structs

from anki_backup import deposit, formats, runs
from anki_backup.contents import Contents
from anki_backup.errors import AnkibakError, DamageError, StorageError, UsageError
from anki_backup.gather import Options
from anki_backup.model import MediaFile
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from tests.conftest import ROOT
from tests.made_collections import make_varied, sql

PICTURES = {
    b"cat.jpg": b"a picture",
    b"\xff not UTF-8.mp3": b"a sound",
    b"new\nline \\ and \r.png": b"another",
    b"x" * 255: b"long",
    b"copy.jpg": b"a picture",
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A repository with two backups of a profile, and that profile as it was last."""
    home = tmp_path_factory.mktemp("home")
    (home / "collection.media").mkdir()
    for name, data in PICTURES.items():
        (home / "collection.media" / os.fsdecode(name)).write_bytes(data)
    make_varied(home / "collection.anki2")
    repository = Repository.create(home / "repository")
    for _ in range(2):
        sql(home / "collection.anki2", "UPDATE notes SET flds = 'edit ' || flds")
        runs.back_up(repository, Profile("home", home), Options(threads=1))
    return home


@pytest.fixture
def repository(original, tmp_path):
    return Repository.open(shutil.copytree(original / "repository", tmp_path / "repository"))


@pytest.fixture
def export(repository):
    """Export the newest backup; return the warnings."""

    def write(word, target, **options):
        return formats.write(word, Contents(repository, repository.backups()[0]), target, **options)

    return write


def files(folder):
    """Every file below a folder, by the bytes of its name."""
    found = {}
    for path, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            with open(os.path.join(path, name), "rb") as file:
                found[os.path.relpath(os.path.join(path, name), os.fsencode(folder))] = file.read()
    return found


def damage(repository, name):
    path = repository.store.path(name)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_every_backup_comes_back_as_the_collection_that_it_was(export, original, repository, tmp_path):
    assert export("anki2", tmp_path / "new.anki2") == []
    assert (tmp_path / "new.anki2").read_bytes() == (original / "collection.anki2").read_bytes()
    older = repository.backups()[1]
    formats.write("anki2", Contents(repository, older), tmp_path / "old.anki2")
    assert sha256((tmp_path / "old.anki2").read_bytes()).hexdigest() == older.collection_sha256
    assert sorted(os.listdir(tmp_path)) == ["home", "new.anki2", "old.anki2", "repository"]


def test_a_folder_has_all_files_their_times_and_sums_that_sha256sum_accepts(export, original, tmp_path):
    target = tmp_path / "exported"
    assert export("dir", target) == []
    found = files(target)
    assert found.pop(b"collection.anki2") == (original / "collection.anki2").read_bytes()
    assert json.decode(found.pop(b"metadata.json"))["media_files"] == len(PICTURES)
    assert found.pop(b"SHA256SUMS").count(b"\n") == len(PICTURES) + 3
    assert json.decode(found.pop(b"stats.json"))["decks"]
    assert found == {b"collection.media/" + name: data for name, data in PICTURES.items()}
    cat = "collection.media/cat.jpg"
    assert (target / cat).stat().st_mtime_ns == (original / cat).stat().st_mtime_ns
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=target, check=False).returncode == 0
    (target / cat).write_bytes(b"another picture")
    assert subprocess.run(check, cwd=target, check=False, capture_output=True).returncode == 1


def test_without_media_there_is_no_folder_for_them(export, tmp_path):
    export("dir", tmp_path / "exported", options=formats.Options(media=False))
    assert set(files(tmp_path / "exported")) == {
        b"collection.anki2",
        b"metadata.json",
        b"stats.json",
        b"SHA256SUMS",
    }


@pytest.mark.parametrize("word", formats.WORDS)
@pytest.mark.parametrize("make", ["file", "link", "folder"])
def test_what_exists_is_replaced_only_when_told_and_only_by_its_like(word, make, export, tmp_path):
    target = tmp_path / "target"
    if make == "folder":
        target.mkdir()
        (target / "mine.txt").write_bytes(b"mine")
    elif make == "link":
        (tmp_path / "elsewhere").write_bytes(b"mine")
        target.symlink_to("elsewhere")
    else:
        target.write_bytes(b"mine")
    before = files(tmp_path)
    with pytest.raises(UsageError):
        export(word, target)
    assert files(tmp_path) == before
    if make == "folder":
        with pytest.raises(UsageError):
            export(word, target, overwrite=True)
        assert files(tmp_path) == before
    elif word != "dir":
        export(word, target, overwrite=True)
        assert not target.is_symlink()
        assert files(tmp_path).get(b"elsewhere", b"mine") == b"mine"


def test_an_older_export_is_replaced_as_a_whole(export, tmp_path):
    target = tmp_path / "exported"
    for word in ("anki2", "dir"):
        export(word, target, overwrite=True)
        first = files(target) if word == "dir" else target.read_bytes()
        export(word, target, overwrite=True)
        assert (files(target) if word == "dir" else target.read_bytes()) == first
        shutil.rmtree(target) if word == "dir" else target.unlink()
    (target / "collection.media").mkdir(parents=True)
    export("dir", target / "collection.media")
    assert len(files(target)) == len(PICTURES) + 4


@pytest.mark.parametrize(
    "word, name", [("anki2", "target.part"), ("dir", "target.part/a"), ("dir", "target.old.part/a")]
)
def test_what_only_looks_like_a_temporary_file_of_ours_is_left_alone(word, name, export, tmp_path):
    export(word, tmp_path / "target")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    with suppress(AnkibakError):
        export(word, tmp_path / "target", overwrite=True)
    assert (tmp_path / name).read_bytes() == b"mine"


@pytest.mark.parametrize("side", ["-wal", "-shm", "-journal"])
def test_no_collection_is_put_beside_the_wal_of_another(side, export, tmp_path):
    (tmp_path / f"collection.anki2{side}").write_bytes(b"of another database")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=side):
            export("anki2", tmp_path / "collection.anki2", overwrite=overwrite)
    assert not (tmp_path / "collection.anki2").exists()


HOSTILE = [b"../x", b"/x", b"a/b", b"", b".", b"..", b"NUL\0x", b"collection.media/../../x", b"y" * 256]


def test_no_name_in_a_forged_list_leads_out_of_the_folder(repository, tmp_path):
    real = repository.media(repository.backups()[0].id)
    cat = next(file for file in real if file.name == b"cat.jpg")
    forged = [structs.replace(cat, name=name) for name in HOSTILE]
    twin = MediaFile(b"cat.jpg", 7, 0, sha256(b"a sound").hexdigest())
    with repository.writing("forge"):
        manifest = repository.manifest(repository.backups()[0].id)
        found = deposit.put_list(repository.store, [cat, twin, *forged], None)
        forged_manifest = structs.replace(manifest, id="2030-01-01T00-00-00Z", media_list=found, sequence=9)
        backup = repository.commit(forged_manifest, repository.decks(manifest.id))
    before = files(tmp_path / "repository")
    target = tmp_path / "deep" / "er" / "exported"
    target.parent.mkdir(parents=True)
    warnings = formats.write("dir", Contents(repository, backup), target)
    assert len(warnings) == len(HOSTILE) + 1
    media = {name: data for name, data in files(target).items() if b"/" in name}
    assert media == {b"collection.media/cat.jpg": b"a picture"}
    assert (files(tmp_path / "repository"), os.listdir(tmp_path / "deep")) == (before, ["er"])
    assert len(files(tmp_path / "deep")) == 5


def test_damaged_media_are_left_out_and_all_the_rest_is_written(export, repository, tmp_path):
    damage(repository, sha256(b"a sound").hexdigest())
    with pytest.raises(DamageError, match="1 damaged file") as failed:
        export("dir", tmp_path / "exported")
    assert failed.value.exit_code == 6
    found = files(tmp_path / "exported")
    media = {name[17:]: data for name, data in found.items() if b"/" in name}
    assert media == {name: data for name, data in PICTURES.items() if data != b"a sound"}
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path / "exported", check=False).returncode == 0


@pytest.mark.parametrize("word", formats.WORDS)
@pytest.mark.parametrize("existing", [False, True], ids=["new", "over an old one"])
def test_what_fails_leaves_nothing_and_takes_nothing_away(word, existing, export, repository, tmp_path):
    target = tmp_path / "target"
    if existing:
        export(word, target)
    before = files(tmp_path)
    unlimited = resource.prlimit(0, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        with pytest.raises(StorageError):
            export(word, target, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert files(tmp_path) == before
    damage(repository, repository.backups()[0].collection_sha256)
    before = files(tmp_path)
    with pytest.raises(DamageError):
        export(word, target, overwrite=True)
    assert files(tmp_path) == before


def test_the_command_names_what_it_wrote_and_streams_into_a_pipe(repository, original, run_ankibak, tmp_path):
    content = (original / "collection.anki2").read_bytes()
    words = "--repository", repository.root, "export", "latest", "--format", "anki2"
    named = run_ankibak(*words)
    name = f"home-{repository.backups()[0].id}.anki2"
    assert (named.returncode, named.stdout) == (0, name + "\n")
    assert (tmp_path / name).read_bytes() == content
    again = run_ankibak(*words)
    assert (again.returncode, again.stdout, "--overwrite" in again.stderr) == (2, "", True)
    streamed = run_ankibak(*words, "-o", "-").stdout.encode("utf-8", "surrogateescape")
    assert streamed == content
    damage(repository, repository.backups()[0].collection_sha256)
    broken = run_ankibak(*words, "-o", "-")
    assert (broken.returncode, broken.stdout) == (6, "")


def test_a_reader_that_has_seen_enough_is_no_error_worth_a_word(repository, tmp_path):
    words = [
        sys.executable,
        "-m",
        "anki_backup",
        "--repository",
        repository.root,
        "export",
        "latest",
        "--format=anki2",
        "--output=-",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(16) == b"SQLite format 3\0"
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_repository_that_nobody_may_write_can_be_read(repository, tmp_path):
    caps = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    if caps and not shutil.which("setpriv"):
        pytest.skip("root may write everything, and there is no setpriv to give that up")
    folders = [repository.root, *(path for path in repository.root.rglob("*") if path.is_dir())]
    before = files(repository.root)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [*caps, sys.executable, "-m", "anki_backup", "--repository", repository.root]
    for path in [*folders, *(path for path in repository.root.rglob("*") if path.is_file())]:
        path.chmod(0o500 if path in folders else 0o400)
    try:
        for words in ("list", "show latest", "runs", "verify --read-data", "export latest -o out.anki2"):
            done = subprocess.run(
                [*program, *words.split()], env=env, cwd=tmp_path, capture_output=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, b"")
    finally:
        for path in folders:
            path.chmod(0o700)
    assert files(repository.root) == before


def test_a_repository_that_was_copied_elsewhere_is_as_good_as_before(original, repository, tmp_path):
    moved = tmp_path / "else where"
    shutil.copytree(repository.root, moved, copy_function=os.link)
    shutil.rmtree(repository.root)
    copy = Repository.open(moved)
    assert runs.back_up(copy, Profile("home", original), Options()).run.reason == "unchanged"
    formats.write("anki2", Contents(copy, copy.backups()[0]), tmp_path / "back.anki2")
    assert (tmp_path / "back.anki2").read_bytes() == (original / "collection.anki2").read_bytes()
