"""What is measured on: how much of it, the collections, and the one who studies in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.measure import BenchmarkError

CHECKOUT = Path(__file__).resolve().parents[2]
HOUR_S = 3600


@dataclass(frozen=True)
class Sizes:
    """How much is measured; the defaults are those of the published table."""

    notes: int = 35_000
    reviews: int = 500_000
    repeats: int = 7
    hours: int = 48
    export_hours: int = 1_000
    export_newest: int = 48
    export_samples: int = 40
    media: int = 20_000
    media_repeats: int = 3
    media_wait_seconds: int = 360
    package_media: int = 10_000
    larger: int = 10
    backups: int = 30_000
    versions: int = 55
    year_days: int = 363
    decade_years: int = 10
    version_notes: int = 6_000
    requests: int = 200
    slow_clients: int = 40
    slow_seconds: int = 20


QUICK = Sizes(
    repeats=3,
    hours=8,
    export_hours=100,
    export_newest=16,
    export_samples=8,
    media=2_000,
    media_wait_seconds=0,
    package_media=2_000,
    larger=3,
    backups=3_000,
    versions=12,
    year_days=20,
    decade_years=2,
    version_notes=1_000,
    requests=20,
    slow_seconds=5,
)


@dataclass(frozen=True)
class Site:
    """Where one scenario is measured: its own empty folder, the inputs that all share, and who is told."""

    place: Path
    inputs: Path
    sizes: Sizes
    say: Callable[[str], None]

    def reference(self) -> Path:
        """Return the reference collection, made on the first call; never to be changed."""
        path = self.inputs / f"reference-{self.sizes.notes}-{self.sizes.reviews}.anki2"
        numbers = ("--notes", str(self.sizes.notes), "--reviews", str(self.sizes.reviews))
        return self._made(path, *numbers)

    def larger(self) -> Path:
        """Return the collection that holds several times as much as the reference collection."""
        source = self.reference()
        path = source.with_stem(f"{source.stem}-times-{self.sizes.larger}")
        return self._made(path, "--multiply", str(self.sizes.larger), "--source", str(source))

    def _made(self, path: Path, *options: str) -> Path:
        """Make a collection, in a folder of its own first, so that a broken-off attempt is never reused."""
        if not path.exists():
            self.say(f"make {path.name}")
            making = self.inputs / "making"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
            fresh = making / path.name
            make_collection(fresh, *options)
            fresh.rename(path)
            shutil.rmtree(making)
        return path

    def profile(self, collection: Path, media: int = 0) -> Path:
        """Return a profile folder with a copy of `collection` that Anki might have closed an hour ago."""
        folder = self.place / "profile"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "collection.media").mkdir(parents=True)
        copy = folder / "collection.anki2"
        shutil.copyfile(collection, copy)
        if media:
            self.say(f"make {media} media files")
            make_collection(copy, "--only-media", "--media", str(media))
        before = copy.stat().st_mtime - HOUR_S
        os.utime(copy, (before, before))
        return folder


def make_collection(path: Path, *options: str) -> None:
    """Call the maker as a process of its own: it loads Anki's library, and this process must stay small."""
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.make_collection", str(path), *options],
        cwd=CHECKOUT,
        check=True,
    )


class Student:
    """A process that has Anki's library loaded and studies when it is told; ends with the `with` block."""

    def __init__(self, profile: Path) -> None:
        self._command = [sys.executable, "-m", "tests.benchmarks.study_hour"]
        self._command += [str(profile / "collection.anki2"), "--serve"]

    def __enter__(self) -> Student:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def study(self) -> None:
        """Study one hour; the collection is closed again when this returns."""
        self._tell("hour")

    def vacuum(self) -> None:
        """Write the whole file anew, as Anki's Check Database does."""
        self._tell("vacuum")

    def _tell(self, word: str) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "done\n":
            raise BenchmarkError(f"study_hour could not {word}")
