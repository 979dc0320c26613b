"""Who hears what of a run: a monitor of each start and end, people of what changed.

People are told when a source begins to fail, when it goes on failing, when it
works again, of each alarm, and now and then a digest. What a notifier was told is
kept in `state/told/`, so that nothing is told twice, and what could not be
delivered is told by the next run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from msgspec import Struct, structs

from anki_backup import durable, figures, notifiers, redaction
from anki_backup.errors import AnkibakError, DamageError, NotifierError, StorageError
from anki_backup.model import Backup, Run, dump, load, typed
from anki_backup.notifiers import Kind, Message, Notifier
from anki_backup.repository import Repository
from anki_backup.safety import Safety, alarm_sentence

# What was told fits into one block, which stays the file's when nothing else fits on the disk.
ROOM = 2048


class Told(Struct, frozen=True, kw_only=True):
    """What one notifier was told last of one source."""

    state: Literal["fine", "failed", "still"] = "fine"
    alarm: str | None = None


class Known(Struct, frozen=True, kw_only=True):
    """`state/told/<source>.json`: failures in a row, and what each notifier knows of them."""

    failures: int = 0
    told: dict[str, Told] = {}


class Ended(NamedTuple):
    """What came of a run, as far as it is told."""

    run: Run
    alarmed: Backup | None
    warnings: tuple[str, ...] = ()


def due(told: Told, failed: bool, alarmed: str | None, failures: int, after: int) -> list[Kind]:
    """Return what people have to be told of a run, given what they know."""
    kinds: list[Kind] = []
    if not failed and told.state != "fine":
        kinds.append("recovered")
    if alarmed and alarmed != told.alarm:
        kinds.append("alarm")
    elif failed and told.state == "fine":
        kinds.append("failed")
    elif failed and told.state == "failed" and after and failures >= after:
        kinds.append("still")
    return kinds


def learnt(told: Told, kind: Kind, failed: bool, alarmed: str | None) -> Told:
    """Return what somebody knows who was told this."""
    if kind == "alarm":
        return Told(state="failed" if failed and told.state == "fine" else told.state, alarm=alarmed)
    state: Literal["fine", "failed", "still"] = "fine"
    if kind in ("failed", "still"):
        state = "still" if kind == "still" else "failed"
    return structs.replace(told, state=state)


class Tidings:
    """The notifiers of a configuration, and what they are to hear; every text passes the redaction."""

    def __init__(self, root: Path, config: Any, secrets: list[str], verdict: Callable[[], Safety]) -> None:
        self.folder = root / "state" / "told"
        self.config = config
        self.notifiers = notifiers.make(config)
        self.secrets = secrets
        self.verdict = verdict
        self.warnings: list[str] = []

    def started(self, source: str) -> None:
        """Tell the monitor that a run begins."""
        self._tell_all(Message("start", source, f"ankibak: {source} begins", f"{source} begins"))

    def ended(self, result: Ended, now: datetime) -> list[str]:
        """Tell everybody what they are to hear of a run; return who could not be told, and why."""
        if not self.notifiers:
            return []
        run, source = result.run, result.run.source
        failed = run.outcome == "failed"
        self._tell_all(_pulse(result))
        known = self._known(source)
        failures = known.failures + 1 if failed else 0
        alarmed = result.alarmed.id if result.alarmed else None
        told = dict(known.told)
        for name, notifier in self._hearing("failed"):
            mine = told.get(name, Told())
            for kind in due(mine, failed, alarmed, failures, self.config.notify.after_failures):
                if not self._tell(name, notifier, self._message(kind, result, failures)):
                    break
                mine = learnt(mine, kind, failed, alarmed)
            told[name] = mine
        self._keep(self.folder / f"{source}.json", Known(failures=failures, told=told))
        return self.warnings

    def digest(self, repository: Repository, now: datetime) -> list[str]:
        """Tell people how the time since the last digest went, if one is due; the first waits its time."""
        every: timedelta | None = self.config.notify.digest
        if not every or not list(self._hearing("digest")):
            return self.warnings
        path = self.folder.parent / "digest.json"
        last = self._last_digest(path)
        if last is None or last > now:
            self._keep(path, {"at": now})
        elif now - last >= every:
            message = _digest(repository, self.verdict(), last, now)
            if all([self._tell(name, notifier, message) for name, notifier in self._hearing("digest")]):
                self._keep(path, {"at": now})
        return self.warnings

    def _hearing(self, kind: Kind) -> Iterator[tuple[str, Notifier]]:
        return ((name, notifier) for name, notifier in self.notifiers.items() if kind in notifier.hears)

    def _tell_all(self, message: Message) -> None:
        for name, notifier in self._hearing(message.kind):
            self._tell(name, notifier, message)

    def _tell(self, name: str, notifier: Notifier, message: Message) -> bool:
        """Tell one; what keeps it from hearing is a warning, never more."""
        title, body = (redaction.redact(text, self.secrets) for text in (message.title, message.body))
        try:
            notifier.tell(message._replace(title=title, body=body))
        except NotifierError as error:
            if (told := f"{name}: {error.message}") not in self.warnings:
                self.warnings.append(told)
            return False
        return True

    def _message(self, kind: Kind, result: Ended, failures: int) -> Message:
        source, host = result.run.source, os.uname().nodename
        title = {
            "failed": f"the backup of {source} failed",
            "still": f"the backup of {source} is still failing, {failures} times in a row",
            "recovered": f"the backup of {source} works again",
            "alarm": f"ALARM: {source} shrank",
        }[kind]
        try:
            verdict = self.verdict().sentence
        except AnkibakError as error:  # what keeps it from being told may be what the run failed of
            verdict = error.message
        lines = [*_facts(result), "", verdict]
        return Message(kind, source, f"ankibak on {host}: {title}", "\n".join(lines))

    def _known(self, source: str) -> Known:
        try:
            data = (self.folder / f"{source}.json").read_bytes()
            return typed(load(data, "what was told"), Known, "what was told")
        except (OSError, DamageError):  # then it is told once more
            return Known()

    def _last_digest(self, path: Path) -> datetime | None:
        try:
            return datetime.fromisoformat(load(path.read_bytes(), "the digest")["at"])
        except (OSError, DamageError, KeyError, TypeError, ValueError):
            return None

    def _keep(self, path: Path, value: Any) -> None:
        data = dump(value).ljust(ROOM)
        try:
            durable.make_directory(path.parent)
            if not path.exists() or path.read_bytes() != data:
                durable.write(path, data)
        except (StorageError, OSError) as error:
            # A disk that is full has no room for a new file, but for what is there already.
            if not _overwritten(path, data):
                self.warnings.append(f"what was told could not be noted: {error}")


def _overwritten(path: Path, data: bytes) -> bool:
    """Write over a file of the same size where it lies; torn by a crash, it only lets us tell once more."""
    try:
        with open(path, "r+b") as file:
            return os.fstat(file.fileno()).st_size == len(data) and file.write(data) == len(data)
    except OSError:
        return False


def _facts(result: Ended) -> Iterator[str]:
    """Yield what a person wants to know of a run, line by line."""
    run = result.run
    if result.alarmed:
        yield alarm_sentence(result.alarmed)
    if run.error:
        yield run.error.message
        if run.error.hint:
            yield run.error.hint
    elif run.backup:
        yield f"backup {run.backup}, {figures.size(run.stored_bytes)} stored"
    else:
        yield f"{run.outcome}: {run.reason}"
    yield from result.warnings


def _pulse(result: Ended) -> Message:
    """Return what a monitor hears of the end of a run; an alarm is a failure to it."""
    run = result.run
    kind: Kind = "failure" if run.outcome == "failed" or result.alarmed else "success"
    took = figures.duration(run.duration_ms)
    body = "\n".join([f"{run.source}: {run.outcome} in {took}", *_facts(result)])
    return Message(kind, run.source, f"ankibak: {run.source} {run.outcome}", body)


def _digest(repository: Repository, verdict: Safety, since: datetime, now: datetime) -> Message:
    outcomes: dict[str, dict[str, int]] = {}
    stored: dict[str, int] = {}
    for run in repository.runs(since=since):
        counts = outcomes.setdefault(run.source, {})
        counts[run.outcome] = counts.get(run.outcome, 0) + run.count
        stored[run.source] = stored.get(run.source, 0) + run.stored_bytes
    lines = [verdict.sentence, ""]
    for source, counts in sorted(outcomes.items()):
        lines.append(
            f"{source}: {_counted(counts)}; {figures.size(stored[source])} stored{_cards(verdict, source)}"
        )
    held = verdict.repository
    lines += ["", f"{held.backups} backups in the repository, {figures.size(held.stored_bytes)}"]
    title = f"the cards are {'safe' if verdict.safe else 'NOT safe'}"
    return Message("digest", None, f"ankibak on {os.uname().nodename}: {title}", "\n".join(lines))


def _counted(counts: Mapping[str, int]) -> str:
    words = {"created": "new backups", "skipped": "times unchanged", "failed": "failures"}
    return ", ".join(f"{counts[name]} {words.get(name, name)}" for name in sorted(counts))


def _cards(verdict: Safety, source: str) -> str:
    found = next((item for item in verdict.sources if item.source == source), None)
    return f"; newest backup {found.last_backup}" if found and found.last_backup else ""
