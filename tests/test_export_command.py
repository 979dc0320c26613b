"""`ankibak export` as it is typed: names, endings, single files, pipes, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from anki_backup import runs
from anki_backup.gather import Options
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from tests.conftest import ROOT
from tests.made_collections import make_varied

FILES = {b"cat.jpg": b"a picture", b"\xff.mp3": b"a sound", b"dog.jpg": b"another"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    (home / "collection.media").mkdir()
    for name, data in FILES.items():
        (home / "collection.media" / os.fsdecode(name)).write_bytes(data)
    make_varied(home / "collection.anki2")
    repository = Repository.create(home / "repository")
    runs.back_up(repository, Profile("home", home), Options(threads=1))
    return repository.root


@pytest.fixture
def export(root, run_ankibak):
    def run(*words, **options):
        return run_ankibak("--repository", root, "export", "latest", *words, **options)

    return run


@pytest.mark.parametrize(
    "words, word",
    [
        ([], "colpkg"),
        (["--legacy"], "colpkg"),
        (["--deck", "a_b%"], "apkg"),
        (["--search", "front*"], "apkg"),
        (["--no-scheduling"], "apkg"),
        (["--format", "tar.zst"], "tar.zst"),
    ],
    ids=str,
)
def test_the_default_name_has_source_id_and_the_ending_of_what_was_asked_for(
    words, word, export, root, tmp_path
):
    done = export(*words)
    backup = Repository.open(root).backups()[0]
    assert (done.returncode, done.stdout) == (0, f"home-{backup.id}.{word}\n")
    assert (tmp_path / done.stdout.strip()).stat().st_size
    again = export(*words)
    assert (again.returncode, "--overwrite" in again.stderr) == (2, True)
    assert export(*words, "--overwrite").returncode == 0


@pytest.mark.parametrize(
    "words", [[], ["--format", "dir"], ["--deck", "a_b%"], ["--media", "cat.jpg"]], ids=str
)
def test_a_folder_that_is_not_there_is_told_before_anything_is_done(words, export, tmp_path):
    done = export(*words, "-o", tmp_path / "no" / "where" / "x")
    folder = tmp_path / "no" if "--media" in words else tmp_path / "no" / "where"
    said = f"ankibak: there is no folder {folder}\nhint: Make it first: mkdir -p {folder}\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize(
    "words", [["--format", "colpkg"], ["--format", "anki2"], ["--media", "cat.jpg"]], ids=str
)
def test_a_device_or_a_pipe_is_never_replaced(words, export, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/full")
    for name in ("pipe", "device"):
        done = export(*words, "-o", name, "--overwrite")
        assert (done.returncode, "neither a file nor a folder" in done.stderr) == (2, True)
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "device").is_symlink()


@pytest.mark.parametrize("word", ["colpkg", "apkg", "zip", "tar.zst", "anki2"])
def test_the_ending_of_a_path_says_the_format(word, export, tmp_path):
    done = export("-o", f"new.{word}", "--json")
    report = json.loads(done.stdout)
    assert (report["format"], report["path"], done.returncode) == (word, f"new.{word}", 0)
    assert len(report["warnings"]) == (word in ("colpkg", "apkg", "zip"))
    assert done.stderr.count("warning:") == len(report["warnings"])


def test_single_files_come_out_as_they_were(export, tmp_path):
    done = export("--media", "cat.jpg")
    assert (done.stdout, (tmp_path / "cat.jpg").read_bytes()) == ("cat.jpg\n", b"a picture")
    assert export("--media", "dog.jpg", "-o", "found.jpg").stdout == "found.jpg\n"
    assert (tmp_path / "found.jpg").read_bytes() == b"another"
    assert export("--media", "cat.jpg", os.fsdecode(b"\xff.mp3"), "-o", "some/").returncode == 0
    assert sorted(os.listdir(os.fsencode(tmp_path / "some"))) == [b"cat.jpg", b"\xff.mp3"]
    assert export("--media", "dog.jpg", "-o", "-").stdout == "another"
    again = export("--media", "dog.jpg", "--media", "cat.jpg")
    assert (again.returncode, (tmp_path / "dog.jpg").exists()) == (2, False)


def test_what_is_not_there_or_does_not_fit_is_told_with_a_way_out(export, tmp_path):
    told = {
        ("--media", "cta.jpg"): (5, "cat.jpg"),
        ("--media", "cat.jpg", "--format", "zip"): (2, "--media"),
        ("--media", "cat.jpg", "dog.jpg", "-o", "-"): (2, "folder"),
        ("--deck", "a_b"): (5, "a_b%"),
        ("--search", "(a"): (2, "search"),
        ("--search", "tag:none"): (5, "no note"),
        ("--deck", "a_b%", "--format", "colpkg"): (2, "apkg"),
        ("--deck", "a_b%", "--search", "x"): (2, "together"),
        ("--format", "rar"): (2, "colpkg"),
        ("--format", "dir", "-o", "-"): (2, "-o PATH"),
        ("latest",): (2, "one backup"),
    }
    for words, (code, text) in told.items():
        done = export(*words)
        assert (done.returncode, done.stdout) == (code, ""), words
        assert text in done.stderr and "bug" not in done.stderr, words
    assert os.listdir(tmp_path) == ["home"]


def start(root, *words, **options):
    program = [sys.executable, "-m", "anki_backup", "--repository", root, "export", "latest", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(options.pop("tmp"))}
    return subprocess.Popen(program, env=env, stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize("word", ["colpkg", "zip", "tar.zst", "apkg"])
def test_a_pipe_gets_the_same_bytes_and_one_that_closes_is_no_error_worth_a_word(
    word, export, root, tmp_path
):
    assert export("-o", f"new.{word}").returncode == 0
    (tmp_path / "tmp").mkdir()
    words = ("--format", word, "-o", "-")
    with start(root, *words, stdout=subprocess.PIPE, tmp=tmp_path / "tmp") as process:
        data = process.stdout.read()
    if word != "apkg":  # which Anki's library dates
        assert data == (tmp_path / f"new.{word}").read_bytes()
    with start(root, *words, stdout=subprocess.PIPE, tmp=tmp_path / "tmp") as process:
        process.stdout.close()
        said = process.stderr.read()
    assert b"bug" not in said and b"rror" not in said
    assert process.returncode == 1
    assert os.listdir(tmp_path / "tmp") == []


@pytest.mark.parametrize("word", ["colpkg", "apkg", "zip"])
def test_sigterm_leaves_nothing(word, root, tmp_path):
    (tmp_path / "tmp").mkdir()
    for delay in (0.3, 0.5):
        with start(root, "-o", f"new.{word}", cwd=tmp_path, tmp=tmp_path / "tmp") as process:
            time.sleep(delay)
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
        assert process.returncode in (0, 143, -15)
        # It may have come just after the end: then the file is there, and whole.
        made = tmp_path / f"new.{word}"
        assert set(os.listdir(tmp_path)) - {"home", "tmp"} <= {made.name}
        assert made.exists() or process.returncode != 0
        assert not made.exists() or zipfile.ZipFile(made).testzip() is None
        assert os.listdir(tmp_path / "tmp") == []
        made.unlink(missing_ok=True)


@pytest.mark.parametrize("word", ["colpkg", "apkg", "zip", "tar.zst"])
def test_a_full_disk_is_told_as_one(word, root, tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    (tmp_path / "tmp").mkdir()
    words = ("--format", word, "-o", "-")
    with open("/dev/full", "wb") as full, start(root, *words, stdout=full, tmp=tmp_path / "tmp") as process:
        said = process.stderr.read()
    assert process.returncode == 8, said
    assert os.listdir(tmp_path / "tmp") == []
