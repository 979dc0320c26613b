"""Consecutive packages of one collection, adopted at once; the peers get each collection, unpacked."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import zstandard

from tests.benchmarks.inputs import CHECKOUT, Site, make_collection
from tests.benchmarks.measure import BenchmarkError
from tests.benchmarks.peers import PROGRAMS, SOURCE, Ankibak, programs

LEVEL = 3


def measure(site: Site) -> dict[str, Any]:
    """Return what each repository holds in the end, what the import took, and the newest one packed alone."""
    packages = _packages(site)
    profile = site.place / "profile"
    profile.mkdir()
    made = programs(site.place, profile, tuple(PROGRAMS))
    ankibak = made.pop("ankibak")
    assert isinstance(ankibak, Ankibak)
    imported = ankibak.command("import", "--source", SOURCE, str(packages[0].parent))
    adopted = [line.split(b"\t")[1] for line in imported.stdout.splitlines()]
    if adopted != [b"created"] * len(packages):
        raise BenchmarkError(f"not every package was adopted: {adopted}")
    data = b""
    for number, package in enumerate(packages):
        site.say(f"version {number + 1} of {len(packages)} for the peers")
        data = _unpacked(package)
        (profile / "collection.anki2").write_bytes(data)
        for program in made.values():
            program.capture()
    sizes = {name: program.stored().size_bytes for name, program in made.items()}
    return {
        "versions": len(packages),
        "newest_bytes": len(data),
        "newest_zstd_bytes": len(zstandard.compress(data, LEVEL)),
        "packages_bytes": sum(package.stat().st_size for package in packages),
        "import": {"ankibak": [imported.figures()]},
        "stored_bytes": {"ankibak": ankibak.stored().size_bytes} | sizes,
    }


def _packages(site: Site) -> list[Path]:
    """Return the packages, made on the first call, oldest first."""
    sizes = site.sizes
    folder = site.inputs / f"versions-{sizes.versions}-{sizes.version_notes}"
    if not folder.exists():
        site.say(f"make {sizes.versions} versions of {sizes.version_notes} notes")
        making = site.inputs / "making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        first = making / "first.anki2"
        reviews = sizes.version_notes * sizes.reviews // sizes.notes
        make_collection(first, "--notes", str(sizes.version_notes), "--reviews", str(reviews))
        maker = [sys.executable, "-m", "tests.benchmarks.make_versions", str(first)]
        subprocess.run([*maker, str(making / "all"), str(sizes.versions)], cwd=CHECKOUT, check=True)
        (making / "all").rename(folder)
        shutil.rmtree(making)
    return sorted(folder.glob("*.colpkg"))


def _unpacked(package: Path) -> bytes:
    """Return the collection in a package, by other means than ours."""
    with zipfile.ZipFile(package) as opened:
        frame = io.BytesIO(opened.read("collection.anki21b"))
    return zstandard.ZstdDecompressor().stream_reader(frame).read()
