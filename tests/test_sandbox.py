"""The restrictions of the units are ones that the program can live with: it is run under their like.

systemd is seldom PID 1 where tests run, so bubblewrap makes the same walls: everything
read-only but the repository, no devices, no capabilities, a /tmp of its own; and the
kernel forbids memory that is both written and executed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.homes import Home
from tests.made_collections import make_varied

# PR_SET_MDWE, PR_SET_NO_NEW_PRIVS: what MemoryDenyWriteExecute= and NoNewPrivileges= come to.
WALLED = """
import ctypes, os, sys
prctl = ctypes.CDLL(None).prctl
mdwe = prctl(65, 1, 0, 0, 0) == 0
assert prctl(38, 1, 0, 0, 0) == 0
print("mdwe" if mdwe else "no mdwe", file=sys.stderr)
os.execv(sys.executable, [sys.executable, "-m", "anki_backup", *sys.argv[1:]])
"""
COMMANDS = (["run"], ["verify", "--read-data", "--restore"], ["list"], ["status"])


@pytest.fixture
def home(tmp_path, tmp_path_factory):
    home = Home(tmp_path, make_varied(tmp_path_factory.mktemp("made") / "collection.anki2"))
    home.root.mkdir(mode=0o700)
    return home


def walls(home):
    return [
        *("bwrap", "--die-with-parent", "--new-session", "--unshare-ipc", "--unshare-uts", "--unshare-pid"),
        *("--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
        *("--ro-bind", str(home.folder.parent), str(home.folder.parent), "--tmpfs", "/var/tmp"),
        # Wherever this was cloned to: the program itself stays in sight.
        *("--ro-bind", str(ROOT), str(ROOT)),
        *("--bind", str(home.root), str(home.root), "--setenv", "TMPDIR", "/var/tmp", "--chdir", "/"),
    ]


def test_the_walls_of_the_units_leave_room_for_all_that_a_timer_does(home):
    if (
        not shutil.which("bwrap")
        or subprocess.run([*walls(home), "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("there is no bubblewrap, or no right to make namespaces")
    for words in COMMANDS:
        program = [sys.executable, "-c", WALLED, "-c", str(home.config), *words]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([*walls(home), *program], capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0, done.stderr
    assert home.repository.backups()[0].verified_at


def denied():
    """Return the system calls that `SystemCallFilter=~@privileged @resources` takes away."""
    names, pending, seen = set(), ["@privileged", "@resources"], set()
    while pending:
        group = pending.pop()
        if group not in seen:
            seen.add(group)
            told = subprocess.run(
                ["systemd-analyze", "--no-pager", "syscall-filter", group],
                capture_output=True,
                text=True,
                check=True,
            )
            found = set(re.findall(r"^    (@?\w[\w-]*)$", told.stdout, re.MULTILINE))
            pending += [name for name in found if name.startswith("@")]
            names |= {name for name in found if not name.startswith("@")}
    return names


@pytest.mark.skipif(not shutil.which("strace"), reason="there is no strace")
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_system_call_is_made_that_the_units_forbid(words, home, tmp_path):
    home.run()
    calls = ",".join(f"?{name}" for name in sorted(denied()))
    program = [sys.executable, "-m", "anki_backup", "-c", str(home.config), *words]
    words = ["strace", "-f", "-qq", "-e", f"trace={calls}", "-e", "signal=none", "-o", str(tmp_path / "log")]
    done = subprocess.run(
        [*words, *program], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # Only when it runs as root, SQLite gives the files beside a database their owner.
    made = [line for line in (tmp_path / "log").read_text().splitlines() if "fchown(" not in line]
    assert made == []
