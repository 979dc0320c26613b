"""The catalog: an index of backups and runs in SQLite, rebuildable from the files.

It is never the truth. A reader that finds it missing, damaged, locked or of
another version reads the manifests and events instead; the next writer rebuilds
it. Rows are added after the files that they speak of are durable.

Not in WAL mode: that can be opened neither on a full disk nor on a read-only one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import peewee

from anki_backup import durable
from anki_backup.entries import SUMMED, CatalogError, Entry, State, state_of
from anki_backup.errors import DamageError, first_cause, signal_behind
from anki_backup.model import Backup, Run, dump, load, typed

VERSION = 3
VARIABLES = 10_000
# A row of other types is none of ours: its backup is read from its manifest.
OURS = """
    typeof(sequence) = 'integer' and typeof(created) = 'integer'
    and typeof(id) = 'text' and typeof(source) = 'text'
"""
ENTRIES = f"select sequence, created, id, source from backup where {OURS} order by 1, 2, 3"
PRAGMAS = {"journal_mode": "truncate", "synchronous": "full", "foreign_keys": 0, "recursive_triggers": 1}
STATE_FIELDS = ("previous", "pinned", "label", "alarm", "verified_at")
FIELDS = [name for name in Backup.__struct_fields__ if name not in STATE_FIELDS]


class _BackupRow(peewee.Model):
    id = peewee.TextField(primary_key=True)
    source = peewee.TextField()
    sequence = peewee.IntegerField()
    created = peewee.IntegerField()
    document = peewee.BlobField()
    state = peewee.BlobField(null=True)

    class Meta:
        table_name = "backup"
        without_rowid = True


class _RunRow(peewee.Model):
    n = peewee.IntegerField(primary_key=True)
    source = peewee.TextField()
    document = peewee.BlobField(null=True)
    started_at = peewee.TextField()

    class Meta:
        table_name = "run"


class _Mark(peewee.Model):
    key = peewee.TextField(primary_key=True)
    value = peewee.IntegerField()

    class Meta:
        table_name = "mark"
        without_rowid = True


MODELS = (_BackupRow, _RunRow, _Mark)
# What reading or writing of a damaged or refused database may raise; a text that is none, SQLite's own.
FAULTS = (
    *(peewee.PeeweeException, sqlite3.Error),
    *(DamageError, UnicodeError, TypeError, OverflowError),
)
# Kept as marks by SQLite itself, so that nobody has to read every row to add them up.
TOTALS = {
    name: f"coalesce(json_extract(cast(%sdocument as text), '$[{FIELDS.index(name)}]'), 0)" for name in SUMMED
}
# What is asked of all backups at once is answered from these, not from their documents.
INDEXES = [
    "create index backup_newest on backup (source, sequence)",
    "create index backup_told on backup (state) where state is not null",
]
# As peewee would write them, but once: a rebuild puts many thousand rows.
PUT_BACKUP = "insert or replace into backup (id, source, sequence, created, document) values (?, ?, ?, ?, ?)"
PUT_RUN = "insert or replace into run (n, source, document, started_at) values (?, ?, ?, ?)"
# Of runs, what is worth a look, beside those of some backups.
DOCUMENT = "cast(document as text)"
ODD = (
    f"(json_extract({DOCUMENT}, '$.outcome') not in ('created', 'skipped')"
    f" or json_extract({DOCUMENT}, '$.warning') is not null"
    f" or coalesce(json_extract({DOCUMENT}, '$.reason'), 'unchanged') != 'unchanged'"
    f" or json_extract({DOCUMENT}, '$.backup') in (%s))"
)
ORDER = f"create index backup_order on backup (sequence, created, id, source) where {OURS}"
ADD_UP = [
    statement
    for name, value in TOTALS.items()
    for statement in (
        f"insert or replace into mark select '{name}', coalesce(sum({value % ''}), 0) from backup",
        f"create trigger add_{name} after insert on backup begin"
        f" update mark set value = value + {value % 'new.'} where key = '{name}'; end",
        f"create trigger drop_{name} after delete on backup begin"
        f" update mark set value = value - {value % 'old.'} where key = '{name}'; end",
    )
]


def _execute(database: peewee.SqliteDatabase, statement: str, values: Sequence[Any] = ()) -> Any:
    return database.execute_sql(statement, values)  # type: ignore[no-untyped-call]


MIGRATIONS: dict[int, Callable[[peewee.SqliteDatabase], object]] = {
    0: lambda database: database.create_tables(MODELS),
    1: lambda database: [_execute(database, statement) for statement in ADD_UP + INDEXES],
    2: lambda database: _execute(database, ORDER),
}


class Catalog:
    """An open catalog. Every failure of SQLite is a CatalogError."""

    def __init__(self, path: Path, *, write: bool) -> None:
        uri = f"file:{quote(os.fsencode(path))}?mode={'rwc' if write else 'ro'}"
        pragmas = PRAGMAS if write else {}
        if write:
            # SQLite would make it readable to all; its journal takes after it.
            with durable.storing(path):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._database = peewee.SqliteDatabase(uri, uri=True, pragmas=pragmas, timeout=5 if write else 1)
        self._database.bind(MODELS)
        with self._failing():
            self._database.connect()
            version = self._sql("pragma user_version").fetchone()[0]
            if write and version < VERSION:
                with self._database.atomic():
                    for step in range(version, VERSION):
                        MIGRATIONS[step](self._database)
                    self._sql(f"pragma user_version = {VERSION}")
            elif version != VERSION:
                self._database.close()
                raise CatalogError(f"the catalog has version {version}")

    def _sql(self, statement: str) -> Any:
        return _execute(self._database, statement)

    def close(self) -> None:
        with self._failing():
            self._database.close()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except FAULTS as error:
            with suppress(peewee.PeeweeException):
                self._database.close()
            if stopped := signal_behind(error):
                raise stopped from None
            raise CatalogError(first_cause(error, CatalogError)) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all changes of the body, or none."""
        with self._failing(), self._database.atomic():
            yield

    # Reading

    def entries(self) -> list[Entry]:
        """Return every backup, oldest first."""
        # Straight from the cursor: peewee's wrapping of 30,000 rows takes longer than all else.
        with self._failing():
            return list(map(partial(tuple.__new__, Entry), self._sql(ENTRIES).fetchall()))

    def backups(self, ids: Iterable[str]) -> dict[str, Backup]:
        """Return the named backups (without their `previous`)."""
        wanted, found = list(ids), {}
        with self._failing():
            for at in range(0, len(wanted), VARIABLES):
                rows = _BackupRow.select().where(_BackupRow.id.in_(wanted[at : at + VARIABLES]))
                found.update({row.id: _backup(row) for row in rows})
        return found

    def states(self) -> dict[str, State]:
        """Return what events say of the backups of which they say anything."""
        told = [str(row[0]) for row in self.rows("select id from backup where state is not null")]
        return {name: state_of(backup) for name, backup in self.backups(told).items()}

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Return what a query of ours gives: for questions that need not read every row as a backup."""
        with self._failing():
            return list(_execute(self._database, query, values).fetchall())

    def mark(self, key: str) -> int:
        """Return a number kept under a name: how far the event log was read (`offset`, `n`), a total."""
        with self._failing():
            row = _Mark.get_or_none(_Mark.key == key)
            return row.value if row else 0

    def runs(
        self,
        source: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
        before: int | None = None,
        odd: Collection[str] | None = None,
    ) -> list[tuple[int, Run]]:
        """Return the runs that have ended, newest first: number and Run; only those `before` a number.

        With `odd` only those that were not plain: not well, with a warning or a reason of
        their own, or with one of these backups.
        """
        ended = _RunRow.document.is_null(False)
        query = _RunRow.select().where(ended).order_by(_RunRow.n.desc()).limit(limit)
        if before is not None:
            query = query.where(_RunRow.n < before)
        if odd is not None:
            query = query.where(peewee.SQL(ODD % ", ".join("?" * len(odd)), tuple(odd)))
        if source:
            query = query.where(_RunRow.source == source)
        if since:
            query = query.where(_RunRow.started_at >= since.astimezone(UTC).isoformat())
        with self._failing():
            return [(row.n, _run(row)) for row in query]

    def open_runs(self) -> dict[int, tuple[str, str]]:
        """Return the runs that have not ended: number -> (source, start)."""
        query = _RunRow.select().where(_RunRow.document.is_null())
        with self._failing():
            return {row.n: (row.source, row.started_at) for row in query}

    # Writing

    def put_backup(self, backup: Backup) -> None:
        """Add a backup; what events say of it comes after, by `put_state`."""
        created, document = int(backup.created_at.timestamp()), dump([getattr(backup, n) for n in FIELDS])
        with self._failing():
            row = (backup.id, backup.source, backup.sequence, created, document)
            _execute(self._database, PUT_BACKUP, row)

    def drop_backup(self, backup_id: str) -> None:
        with self._failing():
            _BackupRow.delete().where(_BackupRow.id == backup_id).execute()

    def put_state(self, backup_id: str, state: State) -> None:
        """Keep what events say of a backup."""
        told = None if state == State() else dump(state._asdict())
        with self._failing():
            _BackupRow.update(state=told).where(_BackupRow.id == backup_id).execute()

    def put_run(self, number: int, source: str, started_at: str, run: Run | None) -> None:
        """Add or replace a run; None while it has not ended."""
        document = dump(run.document()) if run else None
        with self._failing():
            _execute(self._database, PUT_RUN, (number, source, document, started_at))

    def put_mark(self, key: str, value: int) -> None:
        with self._failing():
            _Mark.insert(key=key, value=value).on_conflict_replace().execute()

    def content(self) -> list[tuple[Any, ...]]:
        """Return every row of every table: two catalogs of one repository are equal in it."""
        with self._failing():
            return [(model.__name__, *row) for model in MODELS for row in _rows(model.select())]


def _rows(query: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query as what they are: peewee's types take them for models."""
    yield from query.tuples()


def _backup(row: _BackupRow) -> Backup:
    values = dict(zip(FIELDS, load(row.document, "a row of the catalog"), strict=False))
    state = load(row.state, "a row of the catalog") if row.state else {}
    return typed(values | {"previous": None} | state, Backup, "a row of the catalog")


def _run(row: _RunRow) -> Run:
    return typed(load(row.document or b"", "a row of the catalog"), Run, "a row of the catalog")
