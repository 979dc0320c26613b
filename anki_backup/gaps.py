"""What the repository lost behind our back, as far as its parts can tell of each other.

The event log only grows. One that ends before what the catalog has read of it was cut off, put
back from an older copy, or taken away. Whoever writes next notices, before lines of its own make
the log look whole: a line `lost` says so and names the backups that it had told of, and the pins,
labels, alarms, proofs and runs that the catalog remembers are told again. Where no catalog remembers
them, backups that the log doesn't tell of give it away: nobody knows what was pinned, so `verify`
tells, and nothing is pruned, until a person accepts it (`ankibak catalog rebuild`).

Backups go by `prune` alone, and the log tells which; what was made and went otherwise was lost.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from anki_backup import durable, events
from anki_backup.entries import CatalogError, State
from anki_backup.errors import DamageError, StorageError
from anki_backup.history import History
from anki_backup.model import Run
from anki_backup.replay import BLANK, Replay

PUT_BACK = (
    "the event log had lost its end; runs, pins, labels and alarms were put back from the catalog,"
    " rollbacks are forgotten"
)
GONE = "the event log lost what it told of some backups, and so perhaps pins, labels and alarms"
SHORTER = "the event log is shorter than it was: it may have held a pin"
SPOILT = "the event log is damaged: it may have held a pin"
ACCEPT = "Look through the backups, pin what must stay, then accept what is lost: ankibak catalog rebuild"
MADE = (b'"outcome":"created"', b'"event":"adopted"')
TAKEN = (b'"event":"pruned"', b'"event":"lost"', events.ACCEPTED)
Told = dict[str, Any]
BACKUP = re.compile(rb'"backup":"([^"]+)"')


class Account(NamedTuple):
    """What the log tells of backups: all that it knows, and the lines of those that should be there."""

    known: set[str]
    left: dict[str, events.Line]


class _Memory(NamedTuple):
    """What the catalog remembers.

    The number of the event that it read last; backups and their sources; what events said of
    them; runs that ended; how much damage is known; what the repository holds beyond its backups.
    """

    number: int
    backups: dict[str, str]
    states: dict[str, State]
    runs: dict[int, Run]
    findings: int
    inherited: int


NOTHING = _Memory(0, {}, {}, {}, 0, 0)


def notice(history: History, at: datetime) -> str | None:
    """Note that the log lost its end, with what the catalog remembers of it, and return that in words.

    The caller holds the lock and has not written yet.
    """
    known = _catalogued(history.catalog_path)
    if known <= _end(history):
        return None
    try:
        memory = _remembered(history)
    except CatalogError:
        _write(history, known, at, {"event": "lost", "backups": [], "remembered": False}, NOTHING)
        return f"{GONE}. {ACCEPT}"
    account = _account(history)
    made = {run.backup for run in memory.runs.values() if run.backup} - account.known
    pruned = (account.left.keys() | made) - set(history.ids()) - memory.backups.keys()
    _write(history, known, at, {"event": "lost", "backups": sorted(pruned)}, memory)
    return PUT_BACK


def trouble(history: History) -> DamageError | None:
    """Return what the log lost that nobody has put back or accepted."""
    known = _catalogued(history.catalog_path)  # first: a writer beside us writes the log first
    if events.damaged(history.log):
        return DamageError(SPOILT, hint=ACCEPT)
    if known > _end(history):
        return DamageError(SHORTER, hint="The next run puts back what the catalog remembers: ankibak run")
    forgotten = _last(history, b'"remembered":false') > _last(history, events.ACCEPTED)
    return DamageError(GONE, hint=ACCEPT) if forgotten or _untold(history) else None


def accept(history: History, at: datetime) -> list[str]:
    """Take what is there for all that there is; return in words what was lost. The caller holds the lock."""
    gone, untold = vanished(history), _untold(history)
    lost = [f"backup {backup} of {source} was lost" for backup, source in sorted(gone.items())]
    if told := trouble(history):
        lost.append(told.message)
    if lost:
        memory = NOTHING
        with suppress(CatalogError):
            memory = _remembered(history)
        event = {"event": "accepted", "backups": sorted({*gone, *untold})}
        _write(history, _end(history), at, event, memory)
    return lost


def vanished(history: History) -> dict[str, str]:
    """Return backup -> source of what was made and is not there, though no prune took it."""
    account = _account(history)
    there = {*history.ids(), *_aside(history)}
    lines = {name: line.event for name, line in account.left.items() if name not in there}
    return {name: str(event.get("source")) for name, event in lines.items() if event}


def tell_pruned(history: History, at: datetime) -> bool:
    """Tell the log what a prune that died had set aside; say whether all there may be deleted now."""
    aside = _aside(history)
    gone = sorted(set(aside) & _account(history).left.keys()) if aside else []
    try:
        if gone:
            events.append(history.log, "pruned", at, backups=gone, freed_bytes=0)
        return True
    except StorageError:  # a full disk: they stay set aside until there is room for a line
        return False


def _untold(history: History) -> list[str]:
    """Return the backups that runs made and the log doesn't tell of, if they are more than crashes explain.

    A run that dies between the two leaves one: of that time, or the newest while nobody has written since.
    """
    untold = set(history.ids()) - _account(history).known
    if len(untold) < 2:
        return []
    died = list(_died(history))
    left = {
        manifest.id
        for manifest in history.manifests(untold)
        if manifest.origin != "import"
        and not any(name == manifest.source and a <= manifest.created_at <= b for name, a, b in died)
    }
    running = (events.last(history.log) or {}).get("event") == "run_started"
    return sorted(left) if len(left) > 1 + running else []


def _died(history: History) -> Iterator[tuple[str, datetime, datetime]]:
    """Yield the source, the start and the end of each run that died, as far as anybody knew."""
    for line in events.mentioning(history.log, b'"outcome":"interrupted"'):
        with suppress(KeyError, TypeError, ValueError):  # of a later program, or not as we write it
            event = line.event or {}
            start, end = (datetime.fromisoformat(event[key]) for key in ("started_at", "at"))
            if start.tzinfo and end.tzinfo:
                yield event["source"], start.replace(microsecond=0), end


def _account(history: History) -> Account:
    made = [line for word in MADE for line in events.mentioning(history.log, word)]
    taken = [line for word in TAKEN for line in events.mentioning(history.log, word)]
    account, begun = Account(set(), {}), {line.start for line in made}
    for line in sorted([*made, *taken], key=lambda line: line.start):
        if line.start in begun:
            if found := BACKUP.search(line.raw):
                account.left[found[1].decode(errors="replace")] = line
        else:
            names = line.event and line.event.get("backups")
            for name in names if isinstance(names, list) else ():
                account.left.pop(str(name), None)
                account.known.add(str(name))
    account.known.update(account.left)
    return account


def _aside(history: History) -> list[str]:
    return [path.name.removesuffix(durable.PART) for path in history.root.glob(f"backups/*{durable.PART}")]


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


def _remembered(history: History) -> _Memory:
    """Return what the catalog remembers; CatalogError where it can't be asked."""
    with history.catalog() as catalog:
        return _Memory(
            catalog.mark("n"),
            {entry.id: entry.source for entry in catalog.entries()},
            catalog.states(),
            dict(catalog.runs()),
            catalog.mark("findings"),
            catalog.mark("inherited"),
        )


def _write(history: History, after: int, at: datetime, event: Told, memory: _Memory) -> None:
    """Add an event, numbered from `after` on, and what the log tells no more: all of it, or nothing."""
    lines = list(events.read(history.log))
    log, both = Replay(), Replay(memory.states)
    for line in lines:
        log.apply(line)
        if (line.number or 0) > memory.number:
            both.apply(line)
    made = _forgotten_runs(history, log, memory)
    there = memory.backups.keys() & history.ids()
    told = [{"at": at} | each for each in (*made, event, *_forgotten_states(log, both, memory, there))]
    block = b"".join(events.encode({"n": n} | each) for n, each in enumerate(told, after + 1))
    durable.write(history.log, b"".join(line.raw for line in lines) + block)


def _forgotten_runs(history: History, log: Replay, memory: _Memory) -> Iterator[Told]:
    """Yield events that tell of runs after the log's end, and of backups that were made otherwise."""
    known = set(_account(history).known)
    for number, run in sorted(memory.runs.items()):
        if number > log.number:
            known.add(run.backup or "")
            yield {"event": "run", "at": run.started_at, "run": number, **run.document()}
    for backup in sorted(memory.backups.keys() - known):
        yield {"event": "adopted", "source": memory.backups[backup], "backup": backup}


def _forgotten_states(log: Replay, both: Replay, memory: _Memory, there: Collection[str]) -> Iterator[Told]:
    """Yield events that tell what is so of these backups, and of all, where the log tells otherwise."""
    for backup in sorted({*both.states, *log.states} & set(there)):
        for change in _changes(log.states.get(backup, BLANK), both.states.get(backup, BLANK)):
            yield change | {"backup": backup}
    findings = memory.findings if both.findings is None else both.findings
    if findings != (log.findings or 0) and memory.number:
        yield {"event": "verified", "findings": findings}
    inherited = memory.inherited if both.inherited is None else both.inherited
    if inherited != (log.inherited or 0) and memory.number:
        yield {"event": "pruned", "backups": [], "freed_bytes": 0, "inherited_bytes": inherited}


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
