"""What people do without a backup program: a copy, a patch by zstd, Anki's own backup.

They are driven like the programs, and keep the collection alone, without its media.
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.measure import BenchmarkError, Measurement
from tests.benchmarks.peers import Program

COLLECTION = "collection.anki2"
ANKI = """
import sys, time
from anki.collection import Collection
collection = Collection(sys.argv[1])
began = time.perf_counter()
made = collection.create_backup(backup_folder=sys.argv[2], force=True, wait_for_completion=True)
took = time.perf_counter() - began
collection.close(downgrade=False)
print(took if made else "no backup was made")
"""


class Simple(Program):
    """Files in a folder, numbered from 1."""

    def initialise(self) -> None:
        """Make the folder."""
        self.captures = 0
        self.repository.mkdir()


class Copy(Simple):
    """`cp` of the whole file."""

    def capture(self) -> Measurement:
        """Copy it."""
        self.captures += 1
        return self.run("cp", "--reflink=never", COLLECTION, str(self.repository / f"{self.captures}"))

    def extract(self, name: str, path: Path) -> Measurement:
        """Copy it back."""
        return self.run("cp", str(self.repository / name), str(path))


class PatchFrom(Simple):
    """`zstd --patch-from`: each file against the one before, which is kept unpacked beside, as a cache."""

    def capture(self) -> Measurement:
        """Compress it; keeping it for the next one is not measured."""
        self.captures += 1
        before = self.place / "before"
        base = [f"--patch-from={before}"] if self.captures > 1 else []
        made = str(self.repository / f"{self.captures}.zst")
        measured = self.run("zstd", "-3", "-q", *base, COLLECTION, "-o", made)
        shutil.copyfile(self.source / COLLECTION, before)
        return measured

    def extract(self, name: str, path: Path) -> Measurement:
        """Go the whole way from the first file on; what is measured is the last step."""
        for number in range(1, int(name) + 1):
            base = [f"--patch-from={path}"] if number > 1 else []
            fresh = path.with_name(f"{path.name}-{number}")
            unpack = ("zstd", "-d", "-q", *base, str(self.repository / f"{number}.zst"), "-o", str(fresh))
            measured = self.run(*unpack)
            fresh.replace(path)
        return measured


class AnkisOwn(Simple):
    """The backup that Anki makes by itself: a `.colpkg` without media."""

    def capture(self) -> Measurement:
        """Have Anki's library make one; the time is that of the call alone, in a process that opened it."""
        copy = self.place / COLLECTION  # opening it writes to it, and the others shall see what was studied
        shutil.copyfile(self.source / COLLECTION, copy)
        measured = self.run(sys.executable, "-c", ANKI, str(copy), str(self.repository))
        self.captures += 1
        if len(list(self.repository.iterdir())) != self.captures:
            raise BenchmarkError(f"Anki made no backup: {measured.stdout!r}")
        return Measurement(float(measured.stdout), measured.cpu_seconds, measured.peak_rss_bytes, b"")

    def extract(self, name: str, path: Path) -> Measurement:
        """Unpack the collection by zstd, as it is after Anki opened it."""
        package = sorted(self.repository.iterdir())[int(name) - 1]
        with zipfile.ZipFile(package) as opened:
            packed = Path(opened.extract("collection.anki21b", self.place))
        return self.run("zstd", "-d", "-q", "-f", str(packed), "-o", str(path))


SIMPLE: dict[str, Callable[[Path, Path], Simple]] = {
    "a copy": Copy,
    "zstd --patch-from": PatchFrom,
    "Anki's own": AnkisOwn,
}


def simple(place: Path, source: Path) -> dict[str, Simple]:
    """Return all of them, each with an empty folder."""
    made = {name: kind(place / kind.__name__, source) for name, kind in SIMPLE.items()}
    for program in made.values():
        program.reset()
    return made
