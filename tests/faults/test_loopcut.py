"""A power cut on a real ext4 and a real XFS loses nothing that was promised."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import warm
from tests.faults import loopcut
from tests.faults.conftest import FULL, State
from tests.faults.crashpoints import summary
from tests.faults.loopcut import END, Campaign
from tests.faults.trial import scratch

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]

# In CI the end and so many points of one run on each; else every point of everything.
POINTS = 2
EVERYTHING = ["first", "changed", "pruned", "rolled_back"]
TRIED = [(fs, name) for fs in loopcut.SIZES for name in (EVERYTHING if FULL else ["changed"])]


@pytest.fixture(params=list(loopcut.SIZES))
def fs(request: pytest.FixtureRequest) -> str:
    """A kind of file system that can be mounted here."""
    return mountable(str(request.param))


def mountable(fs: str) -> str:
    if reason := loopcut.why_not(fs):
        pytest.skip(f"no power cut on a real {fs} here: {reason}")
    return fs


@pytest.mark.parametrize(("kind", "name"), TRIED)
def test_a_power_cut_on_a_real_file_system_keeps_every_backup_and_what_exit_0_promised(
    kind: str, name: str, request: pytest.FixtureRequest
) -> None:
    """A first run, one with earlier backups, a prune and a rollback: cut anywhere, and after the end."""
    scenario = request.getfixturevalue(name)
    campaign = Campaign(scenario.base, scenario.trial(), mountable(kind), max_points=0 if FULL else POINTS)
    results = campaign.run()
    assert results[-1].point is END
    bad = [str(result) for result in results if result.verdict != "ok"]
    print(kind, name, summary(results)[1])
    assert not bad, "\n".join([*bad, summary(results)[1]])


def test_a_program_that_forgets_to_sync_is_found_out(changed: State) -> None:
    """The campaign can fail: without a sync, what the end promised is not on the disk."""
    results = Campaign(changed.base, changed.forgetful(), mountable("ext4"), max_points=1).run()
    assert results[-1].verdict == "fail", summary(results)[1]
    assert results[-1].code == 0 and results[-1].why.startswith("inspect")


def test_nothing_stays_mounted_when_the_harness_is_killed(fs: str) -> None:
    """Another process unmounts, and removes the images."""
    script = (
        "import time; from pathlib import Path; from tests.faults.loopcut import *\n"
        "with workplace() as folder:\n"
        f"    make({fs!r}, folder / 'image')\n"
        f"    with mounted({fs!r}, folder / 'image', folder / 'place'):\n"
        "        print(folder, flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=warm.ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    folder = Path(process.stdout.readline().strip())
    assert folder.parent == (scratch() or folder.parent) and os.path.ismount(folder / "place")
    process.send_signal(signal.SIGKILL)
    process.wait()
    ends = time.monotonic() + 20
    while folder.exists() and time.monotonic() < ends:
        time.sleep(0.05)
    assert not folder.exists()
    assert str(folder) not in Path("/proc/mounts").read_text()
