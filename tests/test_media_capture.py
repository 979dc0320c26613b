"""The media folder: each file once, whatever its name and however it behaves; nothing else stops a run."""

from __future__ import annotations

import errno
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anki_backup import durable, formats, runs
from anki_backup.contents import Contents
from anki_backup.gather import Options
from anki_backup.header import CLONE_OFFSET, HEADER_BYTES, RAW, ZSTD
from anki_backup.objects import ObjectStore
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from tests.conftest import ROOT
from tests.made_collections import make_varied, sql

LARGE = (4 << 20) + 1
TEXT = b"<p>a page that compresses well</p>\n" * (LARGE // 35 + 1)
NAMES = [
    *(b"\xff\xfe latin.jpg", b"x" * 251 + b".mp3", b"new\nline.png", b"tab\tquote\"'.png", b" ", b"\r"),
    *(b"\xc3\x84.png", b"A\xcc\x88.png", b"A.png", b"a.png", b"CON", b"dot.", b"thumbs.db", b"-rf"),
    *("\u202emirrored.png".encode(), b"back\\slash", b"*?$HOME", b"...", "日本語.jpg".encode()),
]
CAT = {b"cat.jpg": b"a picture"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = make_varied(tmp_path_factory.mktemp("made") / "collection.anki2")
    sql(path, "UPDATE notes SET flds = '<img src=cat.jpg>' || flds WHERE id = (SELECT min(id) FROM notes)")
    return path


@pytest.fixture
def media(tmp_path, made):
    """The media folder of a profile beside `tmp_path / "repository"`, with one picture."""
    folder = tmp_path / "User 1" / "collection.media"
    folder.mkdir(parents=True)
    (folder / "cat.jpg").write_bytes(CAT[b"cat.jpg"])
    shutil.copy(made, folder.parent)
    return folder


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def back_up(media, **options):
    """Run once, as a process of its own would; return the result and the repository."""
    repository = Repository.create(media.parent.parent / "repository")
    wanted = Options(**{"threads": 1, **options})
    return runs.back_up(repository, Profile("home", media.parent), wanted), repository


def kept(media, **options):
    """Run once; return names and contents of the media in the new backup."""
    result, repository = back_up(media, **options)
    assert result.error is None
    files = repository.media(result.backup.id)
    return result, {file.name: b"".join(repository.store.blocks(file.sha256)) for file in files}


def folder_of(path):
    return {os.fsencode(item.name): item.read_bytes() for item in path.iterdir() if item.is_file()}


@pytest.mark.parametrize("threads", [1, 2])
def test_every_name_comes_back_byte_for_byte(threads, media, tmp_path):
    for name in NAMES:
        (media / os.fsdecode(name)).write_bytes(b"content of " + name)
    assert len(os.listdir(media)) == len(NAMES) + 1
    result, repository = back_up(media, threads=threads)
    target = tmp_path / "exported"
    assert formats.write("dir", Contents(repository, result.backup), target) == []
    assert folder_of(target / "collection.media") == folder_of(media)
    assert not result.incomplete and len(result.warnings) == 9


@pytest.mark.parametrize("size", [1, 5000, LARGE])
def test_equal_contents_are_kept_once_even_if_two_begin_at_the_same_moment(size, media, monkeypatch):
    for name in ("cat.jpg", "copy.jpg"):
        (media / name).write_bytes(noise(size))
    # Each has asked whether the content is known before the other has kept it.
    monkeypatch.setattr(ObjectStore, "has_sound", lambda store, name: False)
    result, repository = back_up(media)
    assert len({file.sha256 for file in repository.media(result.backup.id)}) == 1
    made = [*repository.root.glob("objects/*/*"), *repository.root.glob("backups/*/*")]
    assert (len(made), result.backup.stored_bytes) == (6, sum(path.stat().st_size for path in made))


def test_many_files_are_kept_alike_by_one_process_and_by_several(media, tmp_path, monkeypatch):
    for number in range(900):
        (media / f"{number}.txt").write_bytes(b"text %d\n" % (number % 700) * 40)
    (media / "5.fifo").mkdir()
    synced, states = [], []
    monkeypatch.setattr(durable, "_syncfs", lambda path: False)
    monkeypatch.setattr(durable, "sync_file", synced.append)
    for processes in (1, 3):
        synced.clear()
        result, files = kept(media, threads=processes)
        repository = Repository.open(tmp_path / "repository")
        objects = {
            path.relative_to(tmp_path): path.read_bytes() for path in repository.root.glob("objects/*/*")
        }
        assert {os.fspath(tmp_path / path) for path in objects} <= set(synced)
        states.append((files, objects, result.backup.media_files, result.incomplete))
        added = sum(map(len, objects.values()))
        assert added < result.backup.stored_bytes < added + 10_000
        repository.root.rename(tmp_path / f"of {processes}")
    assert states[0] == states[1]
    assert len(states[0][0]) == 901


def test_what_is_no_file_is_left_out_with_a_word_and_nothing_waits_for_it(media, monkeypatch):
    monkeypatch.chdir(media)
    os.mkfifo("fifo.mp3")
    os.mkdir("folder.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
    Path("folder.jpg/inside.jpg").write_bytes(b"in a folder")
    for name, target in (("link.jpg", "cat.jpg"), ("dangling.jpg", "nowhere"), ("out.jpg", "/etc/passwd")):
        os.symlink(target, name)
    start = time.monotonic()
    result, files = kept(media)
    assert (files, time.monotonic() - start < 2) == (CAT, True)
    skipped = [item.name for item in back_up(media)[1].manifest(result.backup.id).skipped]
    assert [warning.split(" ")[0] for warning in result.warnings] == skipped
    assert skipped == ["dangling.jpg", "fifo.mp3", "folder.jpg", "link.jpg", "out.jpg", "socket.png"]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/etc/passwd", path)])
def test_what_becomes_a_link_or_a_fifo_in_the_meantime_is_not_followed(make, media, monkeypatch):
    def swap(path, *args, real=os.open, **options):
        if path == b"busy.jpg":
            (media / "busy.jpg").unlink()
            make(media / "busy.jpg")
        return real(path, *args, **options)

    (media / "busy.jpg").write_bytes(b"a picture")
    monkeypatch.setattr(os, "open", swap)
    result, files = kept(media)
    assert (files, result.incomplete) == (CAT, True)


def test_a_file_that_may_not_be_read_is_named_and_all_the_rest_is_saved(media, tmp_path):
    caps = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    if caps and not shutil.which("setpriv"):
        pytest.skip("root may read everything, and there is no setpriv to give that up")
    (media / "secret.jpg").touch(0)
    config = tmp_path / "config.toml"
    config.write_text('[storage]\nroot = "repository"\n[sources.home]\nkind = "profile"\npath = "User 1"\n')
    words = [*caps, sys.executable, "-m", "anki_backup", "-c", config, "run"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for outcome in ("created", "skipped"):
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.split("\t")[1]) == (3, outcome)
        assert "secret.jpg" in done.stderr
    assert Repository.open(tmp_path / "repository").backups()[0].media_files == 1
    (media / "secret.jpg").chmod(0o600)
    assert set(kept(media)[1]) == {b"cat.jpg", b"secret.jpg"}


CONTENTS = {"small": b"a picture " * 100, "text": TEXT, "noise": noise(LARGE)}
CHANGES = {
    "grows": lambda path, data: path.open("ab").write(b"more"),
    "shrinks": lambda path, data: os.truncate(path, len(data) // 2),
    "is written over": lambda path, data: path.open("r+b").write(b"other bytes"),
    "is replaced": lambda path, data: (path.rename(path.parent.parent / "old"), path.write_bytes(data[1:])),
}


def on_reading(monkeypatch, path, happen):
    """Let something happen after each read of a file: it is given the count of reads."""
    reads = []

    def watched(real):
        def read(fd, *args):
            data = real(fd, *args)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                reads.append(fd)
                happen(len(reads))
            return data

        return read

    for name in ("read", "pread"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    return reads


@pytest.mark.parametrize("first", [1, 8], ids=["as it is hashed", "as it is kept"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("always", [False, True], ids=["once", "always"])
def test_a_file_that_changes_while_it_is_read_is_whole_or_left_out(
    content, change, first, always, media, monkeypatch
):
    def happen(count):
        assert count < 60, "it is read without end"
        if count == first or (always and count > first):
            CHANGES[change](path, path.read_bytes())

    path = media / "busy.mp3"
    path.write_bytes(CONTENTS[content])
    reads = on_reading(monkeypatch, path, happen)
    result, files = kept(media)
    monkeypatch.undo()
    assert result.incomplete == (always and len(reads) >= first)
    assert files == (CAT if result.incomplete else {**CAT, b"busy.mp3": path.read_bytes()})
    assert any("busy.mp3" in warning for warning in result.warnings) == result.incomplete


@pytest.mark.parametrize("first", [1, 8], ids=["as it is hashed", "as it is kept"])
@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_that_the_disk_cannot_read_is_named_and_never_kept(content, first, media, monkeypatch):
    def happen(count):
        if count >= first:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    (media / "bad.mp3").write_bytes(CONTENTS[content])
    reads = on_reading(monkeypatch, media / "bad.mp3", happen)
    result, files = kept(media)
    assert result.incomplete == (len(reads) >= first)
    assert files == (CAT if result.incomplete else {**CAT, b"bad.mp3": CONTENTS[content]})


def test_a_missing_folder_is_odd_only_where_there_should_be_one(media):
    with_media, repository = back_up(media)
    shutil.rmtree(media)
    without, _ = back_up(media)
    assert (without.run.outcome, without.incomplete) == ("created", True)
    assert "media folder" in without.warnings[0]
    assert len(repository.media(with_media.backup.id)) == 1
    sql(media.parent / "collection.anki2", "UPDATE notes SET flds = 'no picture'")
    assert back_up(media)[0].incomplete is False


def test_a_missing_folder_is_told_by_every_run(media, monkeypatch):
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 60 * 10**9)
    shutil.rmtree(media)
    assert [back_up(media)[0].incomplete for _ in range(3)] == [True, True, True]


def test_large_files_are_kept_as_they_are_unless_it_pays_to_compress_them(media):
    (media / "text.html").write_bytes(TEXT)
    (media / "noise.mp4").write_bytes(noise(LARGE))
    assert kept(media)[1] == folder_of(media)
    result, repository = back_up(media, force=True)
    _, video, text = (repository.store.info(file.sha256) for file in repository.media(result.backup.id))
    assert (video.kind, video.payload) == (RAW, LARGE)
    assert (text.kind, text.payload < LARGE / 100) == (ZSTD, True)


@pytest.mark.parametrize("make", [["mkfs.xfs", "-q"], ["mkfs.btrfs", "-q"]], ids=["xfs", "btrfs"])
def test_where_the_file_system_can_a_large_file_shares_its_blocks(make, media, tmp_path):
    image, disk = tmp_path / "image", tmp_path / "disk"
    prepare = ["mkdir", disk], ["truncate", "-s", "320M", image], [*make, image], ["mount", image, disk]
    for command in prepare:
        if not shutil.which(command[0]) or subprocess.run(command, check=False).returncode:
            pytest.skip(f"{command[0]} is missing here, or refused")
    try:
        home = shutil.copytree(media.parent, disk / "User 1") / "collection.media"
        (home / "film.mp4").write_bytes(noise(4 * LARGE))
        subprocess.run(["sync", "-f", disk], check=True)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        result, files = kept(home)
        subprocess.run(["sync", "-f", disk], check=True)
        assert free - os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize < 2 * LARGE
        repository = back_up(home)[1]
        info = repository.store.info(repository.media(result.backup.id)[1].sha256)
        assert (info.kind, info.offset) == (RAW, CLONE_OFFSET)
        assert files == folder_of(home)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_one_new_picture_among_2000_costs_itself_and_a_line(media):
    for number in range(2000):
        (media / f"{number}.jpg").write_bytes(noise(60, number))
    first, repository = back_up(media)
    before = set(repository.root.glob("objects/*/*"))
    back_up(media, force=True)
    assert set(repository.root.glob("objects/*/*")) == before
    (media / "1000.jpg").write_bytes(noise(3000, 5000))
    _, files = kept(media)
    assert files == folder_of(media)
    new = sorted(path.stat().st_size for path in set(repository.root.glob("objects/*/*")) - before)
    assert (new[1], new[0] < HEADER_BYTES + 150) == (HEADER_BYTES + 3000, True)
    assert len(repository.media(first.backup.id)) == 2001
