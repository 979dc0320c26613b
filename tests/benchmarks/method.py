"""How it is measured, as the page tells it, with the sizes that each scenario was measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from tests.benchmarks.inputs import Sizes
from tests.benchmarks.judges import Raw
from tests.benchmarks.scenarios import LONG, SCENARIOS
from tests.benchmarks.written import size

TEXT = """
## How it is measured

- **The collection** is made by `tests/benchmarks/make_collection.py` from a fixed seed: {notes:,} notes,
  {cards:,} cards, {reviews:,} reviews. **One hour** is 60 answers and 3 edited notes through Anki's own
  scheduler (`tests/benchmarks/study_hour.py`); Anki closes the collection before it is captured.
- **Side by side**: all programs see the very same folder, in turns (A B C, B C A, ...), never two at a time.
  What earlier processes left unwritten is synced to disk before each.
- **Bytes** are the sizes of all files of a repository: objects, manifests, catalog and events. Caches are not
  counted, neither the peers' nor our `cache/`, which is expendable.
- **Memory** is the peak resident size that the kernel reports for the process (`wait4`). The one who measures
  stays small, because a child begins with its parent's peak: {own}.
- **The files are in the page cache**, as they are right after study; no figure is one of a cold disk.
- **The peers** are used as their manuals begin: `restic backup .` and `borg create -C zstd,3 ::NAME .`, borg
  without encryption. "borg 4 KiB" adds `--chunker-params fixed,4096`, its best case for a database. Their
  `init` is not measured, ours is part of the first run. borg reads the newest file of a folder again even
  if nothing touched it, so the one collection of an untouched folder is never in its cache of files; "beside
  a newer file" is borg without that handicap.
- **One changed hour** is also kept without a backup program: a copy by `cp`; `zstd -3 --patch-from`, each
  collection against the one before, whose copy is not counted, neither its bytes nor its time; and Anki's own
  backup, the call alone, in a process that has opened the collection.
- **`export`**: after {export_hours:,} captured hours, each of the newest {export_newest} and a sample of the
  others is exported once and its SHA-256 compared; the slowest, the deepest and the oldest are then measured
  beside `borg extract` from a repository that holds those very files. In the picture a dot of borg is a
  median, and so is ours at the same age; our others are single exports.
- **`import`**: {versions} packages as Anki's own backups are, a day of study and new notes between each, with
  a new field, a changed template and Check Database twice (`tests/benchmarks/make_versions.py`;
  {version_notes:,} notes). The peers capture each collection unpacked, which is their best case: a package
  hides from them what didn't change. The newest collection packed alone (zstd 3) is the measure.
- **`colpkg`**: the profile has {package_media:,} media files. Anki's time is that of its call to export,
  in a process that has loaded its library and opened the collection; ours is that of a whole process.
- **Ten years** are simulated at the default retention: one backup a month, in the last year one a week, in
  the last 90 days one a day, in the last days each hour. In life every year ends with such weeks, days and
  hours; here the last one alone does, so what a year grows by is told of the years between the first and
  the last.
- **`serve`**: {backups:,} backups, of which the newest are real and the others made, with the events of
  such years; a collection of {serve_media:,} media files, with reviews of the last year and a tree of decks.
  Each kind is asked for {requests} times over one connection, until its last byte; a page of one backup is of
  another backup each time. Slow clients send a byte a second. Memory is that of a server that did nothing
  else.

## Where a bar was missed, and why (2026-11-29)

- **Memory of a `prune` of a year**: 232 MB for 200 when it was measured. Since then the old pages of a
  frame of 24 MB are let go before it is packed: 203 to 223 MB instead of 255 in a small history of 5,800.
  zstd takes 42 MB for the tables of each side and 24 for its copy of the old pages, the new ones 24.
- **`export` of the newest hours**: tried by hand after 1,000 hours, in five turns: 1.25 s over 77
  deltas beside 0.68 s of borg, 1.8 × for 1.5 ×; with each page written once for each delta it took 1.76 s
  in the same turns. Half of it is unpacking and hashing 100 MB and the start of Python, a delta costs 5 ms.
- **Growth of ten years**: 28 to 34 MB in an ordinary year for 30, and 81 and 100 MB in the two years in
  which a chain ended and a new whole began. A month of 240 hours is one delta of 2.7 MB.
- **First run of 20,000 media**: on a machine half as fast, 17.9 s beside 17.1 s of restic. Both write 2 GB
  of new files; 2.5 to 9 s of one and the same run were the kernel's, for fresh pages.

## Repeat it

```
make bench                                   # all but the longest; replaces this page and benchmarks.json
make bench ARGS='--quick'                    # a few minutes; fewer hours, files and repeats, prints the table
make bench ARGS='--only hours --out /tmp/b'  # one or some of those below
make bench ARGS='--only year --merge'        # that one anew, the others as this page has them
```

Scenarios: {names}.
Of these, {long} take so long that they are measured only when they are named.
"""

# Which scenario's size stands at each place of the text.
SIZES = {
    "notes": ("hours", "notes"),
    "reviews": ("hours", "reviews"),
    "export_hours": ("export", "export_hours"),
    "export_newest": ("export", "export_newest"),
    "versions": ("adopt", "versions"),
    "version_notes": ("adopt", "version_notes"),
    "package_media": ("colpkg", "package_media"),
    "backups": ("serve", "backups"),
    "serve_media": ("serve", "package_media"),
    "requests": ("serve", "requests"),
}


def text(scenarios: Mapping[str, Raw]) -> str:
    """Return that part of the page; of what was not measured it tells the sizes of a full run."""
    full = asdict(Sizes())
    own = [each["measured"]["machine"]["own_peak_rss_bytes"] for each in scenarios.values()]
    told = {
        place: scenarios.get(scenario, {}).get("measured", {}).get("sizes", {}).get(name, full[name])
        for place, (scenario, name) in SIZES.items()
    }
    names = ", ".join(SCENARIOS)
    return TEXT.format(
        **told,
        cards=2 * told["notes"],
        own=size(max(own, default=0)),
        names=names,
        long=" and ".join(sorted(LONG)),
    )
