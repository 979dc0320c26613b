"""Archives: reproducible, with sums that hold, readable by the usual tools, under names from outside."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import zipfile

import pytest
import zstandard
from msgspec import structs

from anki_backup import deposit, formats, runs, zips
from anki_backup.contents import Contents
from anki_backup.gather import Options
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from tests.made_collections import make_varied

PICTURES = {
    b"cat.jpg": b"a picture",
    b"\xff not UTF-8.mp3": b"a sound",
    b"new\nline \\ and \r.png": b"another",
    b"\xe6\x97\xa5\xe6\x9c\xac.png": b"",
    b"x" * 255: b"long",
}
HOSTILE = [b"../x", b"/x", b"a/b", b"", b".", b"..", b"NUL\0x", b"media/../../x", b"y" * 256]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A backup with a forged list of media: names that lead elsewhere among honest ones."""
    home = tmp_path_factory.mktemp("home")
    (home / "collection.media").mkdir()
    for number, (name, data) in enumerate(PICTURES.items()):
        path = os.path.join(os.fsencode(home / "collection.media"), name)
        with open(path, "wb") as file:
            file.write(data)
        os.utime(path, ns=(0, 1_500_000_000_123_456_789 + number))
    make_varied(home / "collection.anki2")
    repository = Repository.create(home / "repository")
    made = runs.back_up(repository, Profile("home", home), Options(threads=1)).backup
    listed = repository.media(made.id)
    with repository.writing("forge"):
        forged = [*listed, *(structs.replace(listed[0], name=name) for name in HOSTILE)]
        manifest = repository.manifest(made.id)
        found = deposit.put_list(repository.store, forged, None)
        manifest = structs.replace(manifest, id="2030-01-01T00-00-00Z", media_list=found, sequence=9)
        backup = repository.commit(manifest, repository.decks(made.id))
    return home, Contents(repository, backup)


def expected(original):
    home, contents = original
    found = {b"media/" + name: data for name, data in PICTURES.items()}
    return found | {
        b"collection.anki2": (home / "collection.anki2").read_bytes(),
        b"metadata.json": contents.manifest(),
        b"stats.json": contents.stats(),
    }


def sums_of(content):
    lines = []
    for name, data in content.items():
        escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        mark = b"\\" if escaped != name else b""
        lines.append(mark + hashlib.sha256(data).hexdigest().encode() + b"  " + escaped)
    return sorted(lines)


def test_a_tar_holds_everything_under_its_name_and_nothing_else(original, tmp_path):
    path = tmp_path / "out.tar.zst"
    assert len(formats.write("tar.zst", original[1], path)) == len(HOSTILE)
    data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())).read()
    assert len(data) % 10_240 == 0
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        members = archive.getmembers()
        content = {os.fsencode(member.name): archive.extractfile(member).read() for member in members}
    assert sorted(content.pop(b"SHA256SUMS").splitlines()) == sums_of(content)
    assert content == expected(original)
    assert {(member.mode, member.uid, member.uname) for member in members} == {(0o600, 0, "")}


def test_gnu_tar_and_sha256sum_accept_it(original, tmp_path):
    if not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    formats.write("tar.zst", original[1], tmp_path / "out.tar.zst")
    (tmp_path / "new").mkdir()
    subprocess.run(["tar", "--zstd", "-xf", "../out.tar.zst"], cwd=tmp_path / "new", check=True)
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path / "new", check=False).returncode == 0
    cat = "media/cat.jpg"
    at = (original[0] / "collection.media" / "cat.jpg").stat().st_mtime_ns
    assert (tmp_path / "new" / cat).stat().st_mtime_ns == at


def test_a_zip_holds_everything_under_its_name_and_nothing_else(original, tmp_path):
    path = tmp_path / "out.zip"
    warnings = formats.write("zip", original[1], path)
    assert len(warnings) == len(HOSTILE) + 1
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        content = {}
        for entry in archive.infolist():
            name = entry.filename.encode("utf-8" if entry.flag_bits & 1 << 11 else "cp437")
            content[name] = archive.read(entry)
    assert sorted(content.pop(b"SHA256SUMS").splitlines()) == sums_of(content)
    assert content == expected(original)
    if shutil.which("unzip"):
        assert subprocess.run(["unzip", "-tqq", path], check=False).returncode == 0


@pytest.mark.parametrize("word", ["zip", "tar.zst", "colpkg"])
def test_equal_backups_give_equal_bytes(word, original, tmp_path, monkeypatch):
    formats.write(word, original[1], tmp_path / "one")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    formats.write(word, original[1], tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_zip_of_very_many_entries_and_odd_times_is_still_one(tmp_path):
    with open(tmp_path / "many.zip", "wb") as file:
        writer = zips.Writer(file)
        for number in range(66_000):
            writer.put(b"%d" % number, b"")
        for at in (-(10**18), 0, 10**18, 10**19):
            writer.stream(b"at %d" % at, [b"a", b"", b"b"], deflate=at > 0, mtime_ns=at)
        writer.close()
    with zipfile.ZipFile(tmp_path / "many.zip") as archive:
        assert len(archive.namelist()) == 66_004
        assert archive.read("at 0") == archive.read(f"at {10**18}") == b"ab"
        assert archive.getinfo(f"at {10**18}").date_time == (2001, 9, 9, 1, 46, 40)


def test_a_zip_beyond_four_gigabytes_is_still_one(tmp_path):
    class Sparse:
        """A file that keeps blocks of zeros as holes."""

        def __init__(self, file):
            self.file = file

        def write(self, data):
            self.file.seek(len(data), 1) if len(data) == 1 << 24 else self.file.write(data)

    block = bytes(1 << 24)
    with open(tmp_path / "large.zip", "wb") as file, pytest.MonkeyPatch.context() as patched:
        patched.setattr(zips.zlib, "crc32", lambda data, crc=0: 0)  # of four gigabytes it would take seconds
        writer = zips.Writer(Sparse(file))
        writer.stream(b"large", (block for _ in range(257)))
        writer.put(b"small", b"x")
        writer.close()
    with zipfile.ZipFile(tmp_path / "large.zip") as archive:
        large, small = archive.infolist()
        assert (large.file_size, large.compress_size, small.file_size) == (257 << 24, 257 << 24, 1)
        assert small.header_offset > 257 << 24
