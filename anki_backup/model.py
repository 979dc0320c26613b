"""The nouns: what a backup, its statistics, a run and their documents are.

Every JSON document that the repository keeps is sealed: it carries a `checksum`
that is the SHA-256 of the document's own bytes with the 64 digits of the
checksum read as zeros. Text that is not UTF-8 (file names, deck names) stands in
JSON as `\\udc80`-`\\udcff` escapes, so documents are written as ASCII by the
standard library and only typed by msgspec.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, ValidationError, convert, structs, to_builtins

from anki_backup.errors import DamageError

FORMAT = 1
SCHEMA = 1
ID_PATTERN = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(?:-(\d+))?", re.ASCII)
SOURCE_PATTERN = re.compile(r"[a-z][a-z0-9_-]*")
HASH_PATTERN = re.compile(r"[0-9a-f]{64}")
NO_CHECKSUM = "0" * 64
DOCUMENT_LIMIT = 64 << 20

Origin = Literal["run", "import", "safety"]
# What SQLite can hold: a larger one would keep the catalog from being made.
Countable = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
SourceName = Annotated[str, Meta(pattern=rf"\A{SOURCE_PATTERN.pattern}\Z")]
Outcome = Literal["created", "skipped", "failed", "interrupted", "planned"]
T = TypeVar("T")


class BackupStats(Struct, frozen=True, kw_only=True):
    """What is in a collection; None where it could not be read."""

    cards: int | None = None
    notes: int | None = None
    decks: int | None = None
    revlog: int | None = None
    notetypes: int | None = None
    tags: int | None = None


class DeckStats(Struct, frozen=True, kw_only=True):
    """One deck: its full name with `::`, and the cards whose home it is."""

    id: int
    name: str
    cards: int


class SourceRevision(Struct, frozen=True, kw_only=True):
    """Where a sync server stood when the mirror was captured."""

    mod: int
    scm: int
    usn: int
    media_usn: int | None = None


class Durations(Struct, frozen=True, kw_only=True):
    """How long a backup took, in milliseconds."""

    sync: int | None = None
    total: int = 0


class Step(Struct, frozen=True, array_like=True):
    """One part of what a backup took, in milliseconds."""

    name: str
    ms: Countable


class Skipped(Struct, frozen=True, kw_only=True):
    """A media entry that was left out, and why."""

    name: str
    reason: str


class CaptureFacts(Struct, frozen=True, kw_only=True):
    """How the copy was taken: the resolved path, and the WAL that was merged into it."""

    path: str
    hot: bool = False
    wal_bytes: int = 0
    warnings: list[str] = []


class BackupManifest(Struct, frozen=True, kw_only=True):
    """`metadata.json`: all that is fixed when a backup is made."""

    format: int
    repository: str
    id: str
    source: SourceName
    sequence: Countable
    origin: Origin
    created_at: datetime
    content_hash: str
    collection_sha256: str
    collection_bytes: int
    collection_schema: int | None
    media_list: str | None
    media_bytes: int
    media_files: int
    stored_bytes: int
    stats: BackupStats
    stats_sha256: str
    pictures: str | None = None
    source_revision: SourceRevision | None = None
    duration_ms: Durations
    anki_version: str | None = None
    program_version: str
    host: str
    capture: CaptureFacts
    skipped: list[Skipped] = []
    steps: list[Step] = []


class Alarm(Struct, frozen=True, kw_only=True):
    """Why a backup is suspect: what shrank, from what to what, since when; the largest deck that is gone."""

    kind: str
    before: int
    after: int
    since: datetime
    deck: str | None = None


class Backup(Struct, frozen=True, kw_only=True):
    """A backup as people and programs see it: manifest, events and neighbours joined."""

    id: str
    source: str
    sequence: int
    origin: Origin
    created_at: datetime
    previous: str | None
    content_hash: str
    collection_sha256: str
    size_bytes: int
    collection_bytes: int
    media_bytes: int
    media_files: int
    stored_bytes: int
    stats: BackupStats
    source_revision: SourceRevision | None
    duration_ms: Durations
    anki_version: str | None
    program_version: str
    host: str
    collection_schema: int | None
    pinned: bool = False
    label: str | None = None
    alarm: Alarm | None = None
    verified_at: datetime | None = None


class RunError(Struct, frozen=True, kw_only=True):
    """The error of a failed run, in the shape that `--json` prints."""

    code: str
    message: str
    hint: str | None = None


class Run(Struct, frozen=True, kw_only=True):
    """One attempt at one source; `warning` says what could not be saved, if it was not all."""

    source: str
    started_at: datetime
    outcome: Outcome
    reason: str | None = None
    backup: str | None = None
    error: RunError | None = None
    stored_bytes: int = 0
    duration_ms: int = 0
    count: int = 1
    warning: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as event log and catalog keep it: a run without a warning as before there were any."""
        fields = structs.asdict(self)
        return fields if self.warning else {name: fields[name] for name in fields if name != "warning"}


class MediaFile(Struct, frozen=True):
    """One line of a backup's list of media; the name is bytes, `mtime_ns` the file's own."""

    name: bytes
    size: int
    mtime_ns: int
    sha256: str


def file_name_text(name: bytes) -> str:
    """Return a file name as JSON and messages show it: what is not UTF-8 becomes lone surrogates."""
    return name.decode("utf-8", "surrogateescape")


def now() -> datetime:
    """Return the wall clock's time in UTC, whole seconds: the precision of an id."""
    return datetime.now(UTC).replace(microsecond=0)


def id_key(backup_id: str) -> tuple[str, int]:
    """Return what sorts ids of the same second in the order they were given out."""
    match = ID_PATTERN.fullmatch(backup_id)
    return (match[1], int(match[2] or 1)) if match else (backup_id, 0)


def dump(value: Any) -> bytes:
    """Return `value` as one line of ASCII JSON, without a line feed."""
    plain = to_builtins(value)
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode("ascii")


def load(data: bytes, what: str) -> Any:
    """Parse JSON that may be damaged or hostile; DamageError names `what` it was."""
    if len(data) > DOCUMENT_LIMIT:
        raise DamageError(f"{what} is larger than any document of ours")
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DamageError(f"{what} is not the JSON that was written: {reason}") from error


def typed(value: Any, kind: type[T], what: str) -> T:
    """Return parsed JSON as `kind`; DamageError where it doesn't fit."""
    try:
        return convert(value, kind)
    except (ValidationError, ValueError, OverflowError) as error:
        raise DamageError(f"{what} doesn't fit: {error}") from error


def seal(value: Any) -> bytes:
    """Return a document with its checksum, ending in a line feed."""
    plain = to_builtins(value) | {"checksum": NO_CHECKSUM}
    blank = dump(plain) + b"\n"
    return dump(plain | {"checksum": hashlib.sha256(blank).hexdigest()}) + b"\n"


def unseal(data: bytes, kind: type[T], what: str) -> T:
    """Return the document if every byte of it is as it was sealed, else DamageError."""
    document = load(data, what)
    checksum = document.pop("checksum", None) if isinstance(document, dict) else None
    if not isinstance(checksum, str) or not HASH_PATTERN.fullmatch(checksum):
        raise DamageError(f"{what} has no checksum")
    blank = data.replace(checksum.encode(), NO_CHECKSUM.encode(), 1)
    if hashlib.sha256(blank).hexdigest() != checksum:
        raise DamageError(f"{what} was changed after it was written")
    return typed(document, kind, what)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")
