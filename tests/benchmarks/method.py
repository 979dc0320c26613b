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
  What earlier processes left unwritten is synced to disk before each. Before a first run its source is read
  into the page cache, and as much memory as it writes is used and freed: a virtual machine is given each page
  anew by its host, which takes longer than what is done with it. For six minutes ext4 steps around each inode
  that was freed: no repository is deleted while programs are measured, and `media` waits for so long. The
  record of `year` (2026-11-29) is one beside other work.
- **Bytes** are the sizes of all files of a repository: objects, manifests, catalog and events. Caches are not
  counted, neither the peers' nor our `cache/`, which is expendable; ours holds a copy of the collection.
- **Memory** is the peak resident size that the kernel reports for the process (`wait4`). The one who measures
  stays small, because a child begins with its parent's peak: {own}.
- **The files are in the page cache**, as they are right after study; no figure is one of a cold disk.
- **The peers** are used as their manuals begin: `restic backup .` and `borg create -C zstd,3 ::NAME .`, borg
  without encryption, as ours is (restic can't leave it out); zstd at 3 because that is what ours and restic
  take. "borg 4 KiB" adds `--chunker-params fixed,4096`, its best case for a database. Their
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

## Where a bar is near, and what is weak (2026-11-30)

- **The first run** meets its bar here, and not on every day: rounds of two days gave 1.04 to 1.28 × borg, and
  up to 1.48 × before what was packed was read back beside the packing. It does 1.6 s of work in two threads
  where borg does 0.9 s in one, so it depends on what a second processor is worth. By profile, of 0.97 s, the
  program loads for 0.10 s and makes a repository in 0.03 s; the collection is copied and hashed in 0.06 s,
  and notes looked through for pictures in 0.03 s. Then both processors are busy for 0.70 s: with packing
  (0.48 s of one), with unpacking what the disk gives back and hashing it (0.15 s), with hashing all rows
  (0.45 s), SQLite's `quick_check` (0.14 s), and counts (0.03 s). The rest, 0.05 s, is the disk and the
  catalog.
- **A first run of many media** hangs on the kernel, in which 20,000 files are created: the program itself
  takes 2.0 s of processor. Rounds that began within minutes of a large deletion, or found the source pushed
  out of the page cache by the programs before, gave 0.82 to 0.95 × restic on the same machine; since
  2026-11-30 the scenario waits, and the source is read before each.
- **Export of the newest after ten years** goes over 191 deltas, of which a month's is 30 MB of pages: 25.9 s
  in this record, beside other work; the oldest, which stands on none, takes 1.33 s.
- **Growth of ten years**: the later years, in which the collection is twice as large, take 30 to 33 MB.
- **An hour** costs what the table says as a mean of 48; over 1,000 hours it is 29.4 KB, because each 64th
  is kept as what changed in 64 of them.
- **The web view's first look** at a comparison takes seconds, at the cards of a backup most of one. The
  table has medians, by which what was asked for is known.
- **`verify --read-data` of a year** is bound by the processor: machines took 229 to 454 s for the same
  backups.

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
