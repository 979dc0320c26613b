"""What strangers install: a wheel that works in an empty environment, with its manual, and in a container."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.homes import Home
from tests.made_collections import make_varied

CONTAINER = ROOT / "docs" / "container"


def load_manual():
    spec = importlib.util.spec_from_file_location("manual", ROOT / "docs" / "manual.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_manual_is_what_the_commands_say():
    written = {path.name: path.read_text() for path in (ROOT / "docs" / "man").iterdir()}
    assert written == load_manual().pages(), "write it again: make man"


@pytest.mark.skipif(not shutil.which("man"), reason="there is no man")
@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "man").iterdir()), ids=lambda path: path.name)
def test_groff_finds_nothing_odd_in_the_manual(path):
    words = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(path)]
    done = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "MANROFFSEQ": ""}, check=False
    )
    assert done.stderr == ""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "tests"), symlinks=True)
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(source)]
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(words, capture_output=True, text=True, env=environ, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"no wheel can be built here: {done.stderr.strip().splitlines()[-1]}")
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_program_its_pages_and_its_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"anki_backup/cli.py", "anki_backup/py.typed"} <= names
    assert any(name.endswith("share/man/man1/ankibak.1") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    # What serves pages brings its templates along.
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "anki_backup").rglob("*.*") if path.is_file()}
    assert {name for name in there if "__pycache__" not in name} <= names


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(wheel, tmp_path):
    venv.create(tmp_path / "empty")
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environ.pop("PYTHONPATH", None)
    script = tmp_path / "empty" / "bin" / "ankibak"
    words = [sys.executable, "-m", "pip", "--python", str(script.with_name("python"))]
    words += ["install", "--quiet", "--no-compile", str(wheel)]
    done = subprocess.run(words, capture_output=True, text=True, env=environ, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be installed here: {done.stderr.strip().splitlines()[-1]}")

    def ankibak(*words):
        return subprocess.run(
            [str(script), *words],
            capture_output=True,
            text=True,
            env=environ,
            cwd=tmp_path,
            timeout=300,
            check=False,
        )

    assert ankibak("--version").stdout.startswith("ankibak ")
    assert ankibak("schedule", "--help").returncode == 0
    home = Home(tmp_path / "home", make_varied(tmp_path / "made.anki2"))
    for words, lines in (
        ("run", 1),
        ("list", 1),
        ("verify --restore", 0),
        ("export latest -o out.colpkg", 1),
    ):
        done = ankibak("-c", str(home.config), *words.split())
        assert (done.returncode, done.stdout.count("\n")) == (0, lines), done
    assert (tmp_path / "out.colpkg").stat().st_size > 0


def test_the_container_runs_what_there_is(run_ankibak):
    script = CONTAINER / "hourly.sh"
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0 and os.access(
        script, os.X_OK
    )
    dockerfile = (CONTAINER / "Dockerfile").read_text()
    for copied in re.findall(r"^COPY (?:--chmod=\d+ )?((?:[\w./-]+ )+)\S+$", dockerfile, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split())
    assert "USER ankibak" in dockerfile and "HEALTHCHECK" in dockerfile
    texts = dockerfile + script.read_text() + (CONTAINER / "compose.yaml").read_text()
    for word in set(re.findall(r"ankibak (?:--log-format json )?(run|status|serve)\b", texts)):
        assert run_ankibak(word, "--help").returncode == 0
    assert Path(ROOT / "LICENSE").exists()
