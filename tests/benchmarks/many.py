"""A repository with many thousand backups, as somebody has who keeps them all, and a collection with life.

The newest backups are real ones, an hour of study apart; those before them are made
(`make_backups`), with their part of the event log.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.benchmarks.inputs import CHECKOUT, Site, Student
from tests.benchmarks.peers import Ankibak

REAL = 4
KEEP_ALL = '\n[retention]\nlast = "all"\n'
# Of each deck a third, and another, go into decks of their own below it.
CHAPTERS = ("First half", "Second half")
DAY_MS = 86_400_000
REVIEWED_DAYS = 365


def enliven(collection: Path) -> None:
    """Give a made collection what pages show: reviews of the last year, and three times the decks."""
    with closing(sqlite3.connect(collection, isolation_level=None)) as db:
        db.create_collation("unicase", lambda one, other: (one > other) - (one < other))
        db.execute("begin")
        first, last, count = db.execute("select min(id), max(id), count(*) from revlog").fetchone()
        now = int(time.time() * 1000)
        step = REVIEWED_DAYS * DAY_MS // max(1, last - first) if count > 1 else 1
        db.execute("update revlog set id = ? - (? - id) * ?", (now, last, max(1, step)))
        decks = [row[0] for row in db.execute("select distinct did from cards order by did")]
        for number, chapter in enumerate(CHAPTERS, start=1):
            for deck in decks:
                fresh = deck + number * DAY_MS
                db.execute(
                    "insert into decks select ?, name || char(31) || ?, mtime_secs, usn, common, kind"
                    " from decks where id = ?",
                    (fresh, chapter, deck),
                )
                db.execute(
                    "update cards set did = ? where did = ? and (id / 61) % 3 = ?", (fresh, deck, number)
                )
        db.execute("update col set mod = ?", (now,))
        db.execute("commit")


def keep_all(ankibak: Ankibak) -> None:
    """Let no backup go, whatever the default policy says."""
    with open(ankibak.config, "a") as file:
        file.write(KEEP_ALL)


def fill(site: Site, ankibak: Ankibak, student: Student) -> dict[str, Any]:
    """Make the many backups; return what `catalog rebuild` took, which finds them."""
    keep_all(ankibak)
    ankibak.capture()
    for _ in range(REAL - 1):
        student.study()
        ankibak.capture()
    site.say(f"make {site.sizes.backups} backups")
    maker = [sys.executable, "-m", "tests.benchmarks.make_backups"]
    subprocess.run([*maker, str(ankibak.repository), str(site.sizes.backups)], cwd=CHECKOUT, check=True)
    return ankibak.command("catalog", "rebuild").figures()
