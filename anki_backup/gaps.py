"""What the repository lost behind our back, as far as its parts can tell of each other.

The event log only grows. One that ends before what the catalog has read of it was cut off, put
back from an older copy, or taken away. Whoever writes next notices, before lines of its own make
the log look whole: a line `lost` says so, and the pins, labels, alarms and proofs that the catalog
remembers are told again. Where nothing remembers them nobody knows what was pinned: `verify`
tells, and nothing is pruned, until a person accepts it (`ankibak catalog rebuild`).

Backups go by `prune` alone, and the log tells which; what was made and went otherwise was lost.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from anki_backup import durable, events
from anki_backup.entries import CatalogError, State, state_of
from anki_backup.errors import DamageError, StorageError
from anki_backup.history import History
from anki_backup.replay import BLANK, Replay

PUT_BACK = "the event log had lost its end; pins, labels and alarms were put back from the catalog"
GONE = "the event log was lost, and with it what was pinned, labelled or an alarm"
SHORTER = "the event log is shorter than it was: it may have held a pin"
SPOILT = "the event log is damaged: it may have held a pin"
ACCEPT = "Look through the backups, pin what must stay, then accept what is lost: ankibak catalog rebuild"
MADE = re.compile(rb'"backup":"([^"]+)"')


def notice(history: History, at: datetime) -> str | None:
    """Note what the log lost, with what is remembered of it, and return that in words.

    The caller holds the lock and has not written yet.
    """
    ends, known = _end(history), _catalogued(history.catalog_path)
    if known > ends:
        with suppress(CatalogError):
            _write(history, known, at, {"event": "lost", "remembered": True})
            return PUT_BACK
    elif ends or not _bare(history):
        return None
    events.append(history.log, "lost", at, remembered=False)
    return f"{GONE}. {ACCEPT}"


def trouble(history: History) -> DamageError | None:
    """Return what the log lost that nobody has put back or accepted."""
    ends, accepted = _end(history), _last(history, events.ACCEPTED)
    if any(events.damaged(history.log)):
        return DamageError(SPOILT, hint=ACCEPT)
    if _catalogued(history.catalog_path) > ends:
        return DamageError(SHORTER, hint=ACCEPT)
    if _last(history, b'"remembered":false') > accepted or (not ends and _bare(history)):
        return DamageError(GONE, hint=ACCEPT)
    return None


def accept(history: History, at: datetime) -> list[str]:
    """Take what is there for all that there is; return in words what was lost. The caller holds the lock."""
    gone = vanished(history)
    lost = [f"backup {backup} of {source} was lost" for backup, source in sorted(gone.items())]
    if told := trouble(history):
        lost.append(told.message)
    if lost:
        try:
            _write(history, _end(history), at, {"event": "accepted", "backups": sorted(gone)})
        except CatalogError:
            events.append(history.log, "accepted", at, backups=sorted(gone))
    return lost


def vanished(history: History) -> dict[str, str]:
    """Return backup -> source of what was made and is not there, though no prune took it."""
    there, missing = {*history.ids(), *_aside(history)}, {}
    for word in (b'"outcome":"created"', b'"event":"adopted"'):
        for line in events.mentioning(history.log, word):
            made = MADE.search(line.raw)
            if made and made[1].decode(errors="replace") not in there and line.event:
                missing[str(line.event["backup"])] = str(line.event.get("source"))
    for word in (b'"event":"pruned"', events.ACCEPTED) if missing else ():
        for line in events.mentioning(history.log, word):
            backups = line.event and line.event.get("backups")
            for backup in backups if isinstance(backups, list) else ():
                missing.pop(str(backup), None)
    return missing


def tell_pruned(history: History, at: datetime) -> bool:
    """Tell the log what a prune that died had set aside; say whether all there may be deleted now."""
    made = [name for name in _aside(history) if any(events.mentioning(history.log, f'"{name}"'.encode()))]
    try:
        if made:
            events.append(history.log, "pruned", at, backups=sorted(made), freed_bytes=0)
        return True
    except StorageError:  # a full disk: they stay set aside until there is room for a line
        return False


def _aside(history: History) -> list[str]:
    return [path.name.removesuffix(durable.PART) for path in history.root.glob(f"backups/*{durable.PART}")]


def _bare(history: History) -> bool:
    """Say whether runs made backups, of which a log has to tell; a crash may keep it from telling of one."""
    ids = history.ids()
    return len(ids) > 1 and any(manifest.origin != "import" for manifest in history.manifests(ids))


def _end(history: History) -> int:
    newest = events.last(history.log)
    return newest["n"] if newest else 0


def _last(history: History, word: bytes) -> int:
    return max((line.number or 0 for line in events.mentioning(history.log, word)), default=0)


def _catalogued(path: Path) -> int:
    """Return the number of the newest event that the catalog has read, 0 if it tells none; without peewee."""
    try:
        with closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro", uri=True, timeout=0)) as db:
            return int(db.execute("select value from mark where key = 'n'").fetchone()[0])
    except (sqlite3.Error, TypeError, ValueError):
        return 0


def _write(history: History, after: int, at: datetime, event: dict[str, Any]) -> None:
    """Add an event, numbered from `after` on, and what is forgotten: all of it, or nothing.

    CatalogError where nothing remembers.
    """
    told = [{"at": at} | event for event in (event, *_forgotten(history))]
    block = b"".join(events.encode({"n": n} | event) for n, event in enumerate(told, after + 1))
    durable.write(history.log, b"".join(line.raw for line in events.read(history.log)) + block)


def _forgotten(history: History) -> Iterator[dict[str, Any]]:
    """Yield the events that tell again what the catalog remembers, and the log tells no more."""
    with history.catalog() as catalog:
        known = catalog.mark("n")
        ids = [name for name, *_ in catalog.rows("select id from backup where state is not null")]
        remembered = {backup.id: state_of(backup) for backup in catalog.backups(ids).values()}
    log, both = Replay(), Replay(remembered)
    for line in events.read(history.log):
        log.apply(line)
        if (line.number or 0) > known:
            both.apply(line)
    for backup in sorted({*both.states, *log.states} & set(history.ids())):
        told, wanted = log.states.get(backup, BLANK), both.states.get(backup, BLANK)
        yield from (event | {"backup": backup} for event in _changes(told, wanted))


def _changes(told: State, wanted: State) -> Iterator[dict[str, Any]]:
    """Yield the events that make one state of a backup another."""
    if wanted.label != told.label or (wanted.pinned and not told.pinned):
        yield {"event": "pin", "label": wanted.label}
        told = told._replace(pinned=True)
    if told.pinned and not wanted.pinned:
        yield {"event": "unpin"}
    if wanted.alarm != told.alarm:
        yield {"event": "alarm", "alarm": wanted.alarm} if wanted.alarm else {"event": "acknowledge"}
    if wanted.verified_at and wanted.verified_at != told.verified_at:
        yield {"event": "proof", "at": wanted.verified_at}
