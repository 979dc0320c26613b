"""The figures of a whole repository, told without reading each of its backups.

The catalog knows the sums; what it lags behind comes from the event log. Where it
can't be used, or doesn't know every backup, all of them are read: slower, the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from anki_backup import gaps, locks, standing
from anki_backup.entries import SUMMED, CatalogError, state_of, with_state
from anki_backup.errors import DamageError
from anki_backup.history import History
from anki_backup.model import Backup, Run, load, typed
from anki_backup.replay import BLANK, Replay
from anki_backup.view import View

if TYPE_CHECKING:
    from anki_backup.catalog import Catalog

Runs = dict[int, tuple[str, str, Run | None]]
GOOD = ("created", "skipped")
COUNT = "select count(*) from backup"
NEWEST = "select id, source, max(sequence) from backup group by source"
# Cast: some builds of SQLite find nothing in a blob.
MARKED = """select id from backup where state is not null and cast(state as text) like '%"alarm":{%'"""
PROVED = (
    "select id, max(json_extract(cast(state as text), '$.verified_at')) from backup where state is not null"
)
LAST = "select n, started_at, document from run where source = ? order by n desc limit 1"
LAST_GOOD = """
    select n, started_at, document from run where source = ?
    and json_extract(cast(document as text), '$.outcome') in ('created', 'skipped') order by n desc limit 1
"""


class Overview(NamedTuple):
    """What there is: sums over all backups, and what is newest of each source.

    `stored_bytes` is what the repository holds, as far as backups and prunes told of it.
    Backups come without their `previous`. `alarms` are those with an open alarm,
    oldest first; `standing` is what each source was last known to be; `proved` the one
    that was verified last; `findings` counts what `verify` found damaged and nobody mended;
    `lost` is the backup of a source's last good run, where it is not there.
    """

    backups: int
    stored_bytes: int
    logical_bytes: int
    newest: dict[str, Backup]
    standing: dict[str, Backup]
    last_run: dict[str, Run]
    last_success: dict[str, Run]
    alarms: list[Backup]
    proved: Backup | None
    findings: int
    unreadable: list[str]
    lost: dict[str, str]


def look(history: History, sources: Iterable[str] = ()) -> Overview:
    """Return the figures of a repository; `sources` may be asked for that have no backup yet."""
    try:
        with history.catalog() as catalog:
            found = _by_catalog(history, catalog, set(sources))
    except CatalogError:
        found = None
    return found or _by_files(history, set(sources))


def news(history: History, catalog: Catalog) -> Replay:
    """Return what the event log holds that the catalog has not seen."""
    replay = Replay()
    for line in history.news(catalog.mark("offset"), catalog.mark("n")):
        replay.apply(line)
    return replay


def _by_catalog(history: History, catalog: Catalog, sources: set[str]) -> Overview | None:
    """Return the figures as the catalog has them; None if it doesn't know every backup there is."""
    # Before the log is read, and after: a run that ends in between was not interrupted.
    alive = locks.holder(history.lock) is not None
    ids = set(history.ids())
    lines = history.news(catalog.mark("offset"), catalog.mark("n"))
    latest = {str(row[1]): str(row[0]) for row in catalog.rows(NEWEST)}
    left = standing.left(history, latest)
    newest = {*latest.values(), *left.values()}
    if catalog.rows(COUNT)[0][0] != len(ids) or newest - ids:
        return None
    spoken = {str(line.event["backup"]) for line in lines if line.event and line.event.get("backup")}
    if spoken & ids and len(catalog.backups(spoken & ids)) != len(spoken & ids):
        return None
    proved = {str(row[0]) for row in catalog.rows(PROVED) if row[1]}
    wanted = newest | {str(row[0]) for row in catalog.rows(MARKED)} | proved | (spoken & ids)
    known = catalog.backups(wanted)
    replay = Replay({backup.id: state_of(backup) for backup in known.values()})
    for line in lines:
        replay.apply(line)
    backups = [with_state(known[name], replay.states.get(name, BLANK)) for name in known]
    sources |= {backup.source for backup in backups}
    runs: Runs = {}
    for source in sources:
        for number, started_at, document in catalog.rows(LAST, source) + catalog.rows(LAST_GOOD, source):
            run = typed(load(document, "a run"), Run, "a run") if document else None
            runs[number] = (source, started_at, run)
    totals = {name: catalog.mark(name) for name in SUMMED}
    totals["stored_bytes"] += catalog.mark("inherited") if replay.inherited is None else replay.inherited
    findings = catalog.mark("findings") if replay.findings is None else replay.findings
    history.damaged.clear()  # every backup is known
    alive = alive or locks.holder(history.lock) is not None
    return _overview(history, len(ids), totals, backups, left, runs | replay.runs, findings, alive)


def _by_files(history: History, sources: set[str]) -> Overview:
    view = View(history)
    backups = [structs.replace(backup, previous=None) for backup in view.backups(view.entries)]
    totals = {name: sum(getattr(backup, name) for backup in backups) for name in SUMMED}
    totals["stored_bytes"] += view.inherited
    runs: Runs = {
        -place: (run.source, run.started_at.isoformat(), run)
        for place, run in enumerate(view.runs(), start=1)
    }
    left = standing.left(history, {backup.source: backup.id for backup in backups})
    return _overview(history, len(view.entries), totals, backups, left, runs, view.findings)


def _overview(
    history: History,
    count: int,
    totals: dict[str, int],
    backups: list[Backup],
    left: dict[str, str],
    runs: Runs,
    findings: int,
    alive: bool = False,
) -> Overview:
    backups = sorted(backups, key=lambda backup: backup.sequence)
    by_id = {backup.id: backup for backup in backups}
    newest = {backup.source: backup for backup in backups}
    proofs = [(backup.verified_at, backup.id, backup) for backup in backups if backup.verified_at]
    unreadable = []
    for backup in newest.values():
        try:
            history.manifest(backup.id)
        except DamageError as error:
            unreadable.append(error.message)
    last_run, last_success = _newest_runs(runs, alive)
    return Overview(
        backups=count,
        stored_bytes=totals["stored_bytes"],
        logical_bytes=totals["size_bytes"],
        newest=newest,
        standing={source: by_id[name] for source, name in left.items() if name in by_id},
        last_run=last_run,
        last_success=last_success,
        alarms=[backup for backup in backups if backup.alarm],
        proved=max(proofs)[2] if proofs else None,
        findings=findings,
        unreadable=unreadable + list(history.damaged.values()),
        lost=_lost(history, last_success),
    )


def _lost(history: History, good: dict[str, Run]) -> dict[str, str]:
    made = {name: run.backup for name, run in good.items() if run.backup and not history.has(run.backup)}
    gone = gaps.vanished(history) if made else {}
    return {name: backup for name, backup in made.items() if backup in gone}


def _newest_runs(runs: Runs, alive: bool) -> tuple[dict[str, Run], dict[str, Run]]:
    """Return the last run of each source, and its last good one; one that is under way is not among them."""
    last: dict[str, Run] = {}
    good: dict[str, Run] = {}
    for number in sorted(runs):
        source, started_at, run = runs[number]
        if run is None:
            if alive and number == max(runs):
                continue
            run = Run(source=source, started_at=datetime.fromisoformat(started_at), outcome="interrupted")
        last[source] = run
        if run.outcome in GOOD:
            good[source] = run
    return last, good
