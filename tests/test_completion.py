"""A shell completes words, options, and what a repository holds, without loading anything heavy."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.homes import Home
from tests.made_collections import make_varied
from tests.test_house import HEAVY


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    home = Home(folder, make_varied(tmp_path_factory.mktemp("made") / "collection.anki2"))
    home.run()
    return home


def complete(*words, shell="bash", python=()):
    """Return what a shell is offered for the last of `words`."""
    line = " ".join(map(str, words))
    env = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_TYPER_COMPLETE_ARGS": line}
    env |= {"_ANKIBAK_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    command = [sys.executable, *python, "-m", "anki_backup"]
    done = subprocess.run(
        command, env={**os.environ, **env}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done


def test_words_and_options_are_completed():
    assert complete("ankibak", "exp").stdout.split() == ["export"]
    assert complete("ankibak", "schedule", "re").stdout.split() == ["remove"]
    assert "--no-media" in complete("ankibak", "export", "--no").stdout.split()


@pytest.mark.parametrize("word", ["show", "export", "pin", "verify"])
def test_ids_are_completed_where_a_backup_is_named(word, home):
    newest = home.repository.backups()[0].id
    offered = complete("ankibak", "-c", home.config, word, "").stdout.split()
    assert offered == ["latest", newest]
    assert complete("ankibak", "--repository", home.root, word, newest[:6]).stdout.split() == [newest]


def test_sources_and_decks_are_completed(home):
    assert complete("ankibak", "-c", home.config, "run", "").stdout.split() == ["home"]
    assert complete("ankibak", "-c", home.config, "list", "--source", "").stdout.split() == ["home"]


def test_a_missing_repository_offers_nothing_and_says_nothing(tmp_path):
    done = complete("ankibak", "--repository", tmp_path / "none", "show", "")
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_completing_loads_nothing_heavy(home):
    told = complete("ankibak", "-c", home.config, "show", "", python=("-X", "importtime")).stderr
    loaded = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in told.splitlines() if "|" in line}
    assert loaded & (HEAVY - {"rich"}) == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell, run_ankibak):
    done = run_ankibak(env={"_ANKIBAK_COMPLETE": f"source_{shell}"})
    assert done.returncode == 0 and f"_ANKIBAK_COMPLETE=complete_{shell}" in done.stdout
