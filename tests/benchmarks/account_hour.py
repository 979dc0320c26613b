"""What an hour costs an account: `python -m tests.benchmarks.account_hour [--notes N] [--media N]`.

The reference collection is put on Anki's own sync server on loopback, behind a proxy
that counts. Then come an unchanged hour, and hours of study (60 answers, 3 edits) of
another device. Times are whole processes of `ankibak run`, the fastest of several,
the server's own work included; bytes are those of the bodies of requests and answers.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.accounts import write_config
from tests.benchmarks.make_collection import NOTES, REVIEWS, make
from tests.benchmarks.study_hour import study
from tests.conftest import ROOT
from tests.sync_proxy import SyncProxy
from tests.sync_server import PASSWORD, Client, SyncServer

REPEATS = 7


def run(config: Path) -> tuple[float, dict[str, Any]]:
    """Run the program once; return its seconds, and its result with the seconds of processor time."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ANKIBAK_CONFIG": str(config),
        "ANKIBAK_SOURCES__HOME__PASSWORD": PASSWORD,
        "NO_PROXY": "127.0.0.1",
    }
    started, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "anki_backup", "run", "--json"], env=env, stdout=subprocess.PIPE, check=True
    )
    took, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return took, json.loads(done.stdout)["results"][0] | {"cpu_s": cpu}


def tell(name: str, proxy: SyncProxy, seconds: float, result: dict[str, Any]) -> None:
    """Print one line of the table."""
    up, down = (sum(getattr(request, way) for request in proxy.seen) for way in ("up", "down"))
    figures = [f"{seconds:6.2f} s", f"{result['cpu_s']:6.2f} s cpu", f"{len(proxy.seen):4} requests"]
    figures += [f"{up:7,} up", f"{down:11,} down", f"{result['stored_bytes']:11,} stored"]
    print(f"{name:<18}{result['outcome']:<8}", *figures, flush=True)
    proxy.seen.clear()


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(prog="account_hour")
    parser.add_argument("--notes", type=int, default=NOTES)
    parser.add_argument("--media", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="account-") as name:
        folder = Path(name)
        phone, config = folder / "phone", folder / "config.toml"
        phone.mkdir()
        collection = phone / "collection.anki2"
        make(collection, chosen.notes, REVIEWS * chosen.notes // NOTES, chosen.media)
        with SyncServer(folder / "server") as server, SyncProxy(server.url) as proxy:
            write_config(config, proxy.url, 'time_limit = "10m"\n')
            with Client(phone, server.url) as client:
                client.upload(media=chosen.media > 0)
            measure(server, proxy, config, collection)


def measure(server: SyncServer, proxy: SyncProxy, config: Path, collection: Path) -> None:
    """Do the hours, and print what each costs."""
    tell("first backup", proxy, *run(config))
    best = min((run(config) for _ in range(REPEATS)), key=lambda found: found[0])
    proxy.seen[:] = proxy.seen[-len(proxy.seen) // REPEATS :]
    tell("unchanged hour", proxy, *best)
    found = []
    for hour in range(REPEATS):
        study(collection, hour=hour)
        with Client(collection.parent, server.url) as client:
            client.sync(media=False)
        proxy.seen.clear()
        found.append((*run(config), list(proxy.seen)))
    seconds, result, seen = min(found[1:], key=lambda one: one[0])
    proxy.seen[:] = seen
    tell("changed hour", proxy, seconds, result)
    proxy.seen.clear()
    tell("the hour after it", proxy, *run(config))


if __name__ == "__main__":
    main()
