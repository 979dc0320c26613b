"""Measure whole processes: their time, their processors' time and their peak memory."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

PACKAGES = ("anki", "apsw", "msgspec", "peewee", "rich", "typer", "zstandard")
PROGRAMS = {"restic": ["restic", "version"], "borg": ["borg", "--version"], "zstd": ["zstd", "--version"]}
STDERR_TAIL = 2000
READ_BYTES = 1 << 20


class BenchmarkError(Exception):
    """A process that is measured failed, or did something else than it should."""


@dataclass(frozen=True)
class Measurement:
    """One process from its start to its end; `peak_rss_bytes` covers its children, the largest one."""

    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    stdout: bytes

    def figures(self) -> dict[str, float]:
        """Return what goes into the raw figures."""
        found = asdict(self)
        del found["stdout"]
        return {name: round(value, 4) for name, value in found.items()}


@dataclass(frozen=True)
class Stored:
    """What a folder takes: the sizes of its files, and the blocks that the disk gave them."""

    size_bytes: int
    block_bytes: int
    files: int

    def __sub__(self, before: Stored) -> Stored:
        return Stored(
            self.size_bytes - before.size_bytes,
            self.block_bytes - before.block_bytes,
            self.files - before.files,
        )


def process(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Measurement:
    """Run a command in `folder` and measure it; BenchmarkError with the end of its stderr if it fails.

    Everything dirty is written out first, so that no command pays for the one before.
    """
    os.sync()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        started = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=dict(environment)
        )
        try:
            _, status, usage = os.wait4(started.pid, 0)
        except BaseException:
            started.kill()
            started.wait()
            raise
        seconds = time.perf_counter() - began
        started.returncode = os.waitstatus_to_exitcode(status)  # wait4 took it from Popen
        if started.returncode:
            err.seek(0)
            said = err.read()[-STDERR_TAIL:].decode(errors="replace")
            raise BenchmarkError(f"{' '.join(command)} ended with {started.returncode}:\n{said}")
        out.seek(0)
        cpu = usage.ru_utime + usage.ru_stime
        return Measurement(seconds, cpu, usage.ru_maxrss * 1024, out.read())


def stored(folder: Path, without: frozenset[str] = frozenset()) -> Stored:
    """Sum up all files under `folder`, except what lies in its top folders `without`."""
    sizes, blocks, files = 0, 0, 0
    for place, folders, names in os.walk(folder):
        if Path(place) == folder:
            folders[:] = [name for name in folders if name not in without]
        for name in names:
            facts = os.lstat(os.path.join(place, name))
            sizes, blocks, files = sizes + facts.st_size, blocks + facts.st_blocks * 512, files + 1
    return Stored(sizes, blocks, files)


def alternate(
    rounds: int, actions: Mapping[str, Callable[[], Measurement]]
) -> dict[str, list[dict[str, float]]]:
    """Do all actions in turn, `rounds` times: A B C, B C A, ... so that none always follows the same one."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in actions}
    for number in range(rounds):
        for name in rotated(list(actions), number):
            figures[name].append(actions[name]().figures())
    return figures


def read_all(folder: Path) -> int:
    """Read all files under `folder` into the page cache and return their bytes.

    Whoever wrote gigabytes meanwhile may have pushed them out, and the next one would wait for the disk.
    """
    buffer, size = bytearray(READ_BYTES), 0
    for place, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(place, name), "rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    size += count
    return size


def touch_memory(touched_bytes: int) -> None:
    """Use as much memory as a command may take, and free it, so that the next one finds it warm.

    A virtual machine is given each page by its host when it first touches it, and gives it
    back when it was free for a second or two: that takes many times as long as what is done
    with the page, and whoever comes next would pay for it by chance.
    """
    os.sync()  # here, so that nothing is left to wait for between this and the command
    # In a child, for a command is told to have taken what its parent has.
    subprocess.run([sys.executable, "-c", f"b'x' * {touched_bytes}"], check=True)


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """Return the names beginning at another one each turn."""
    first = turn % len(names)
    return [*names[first:], *names[:first]]


def middle(figures: Iterable[Mapping[str, float]], name: str = "seconds") -> float:
    """Return the median of one figure over its repeats."""
    return median(each[name] for each in figures)


def machine(folder: Path) -> dict[str, str | int]:
    """Return what the figures depend on: processors, memory, kernel, and the file system of `folder`."""
    return {
        "processor": _first(Path("/proc/cpuinfo"), r"model name\s*: (.*)") or platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "system": _first(Path("/etc/os-release"), r'PRETTY_NAME="(.*)"') or platform.system(),
        "file_system": _file_system(folder),
        "own_peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def versions() -> dict[str, str]:
    """Return the versions of this program, its libraries and the peers."""
    from anki_backup import __version__

    found = {"ankibak": __version__, "python": platform.python_version()}
    for name, command in PROGRAMS.items():
        if shutil.which(name):
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            match = re.search(r"\d+\.\d+[.\w]*", said)
            found[name] = match[0] if match else said.strip()
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _first(path: Path, pattern: str) -> str | None:
    try:
        match = re.search(pattern, path.read_text(errors="replace"))
    except OSError:
        return None
    return match[1] if match else None


def _file_system(folder: Path) -> str:
    """Return the type of the file system under `folder`: the mount with the longest fitting path."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    parents = {str(folder.resolve()), *map(str, folder.resolve().parents)}
    fitting = [mount for mount in mounts if mount[1] in parents]
    return max(fitting, key=lambda mount: len(mount[1]))[2] if fitting else "unknown"
