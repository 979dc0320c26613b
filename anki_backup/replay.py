"""What a row of events comes to: the state of each backup, and the runs."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from anki_backup import events
from anki_backup.entries import State
from anki_backup.errors import DamageError
from anki_backup.model import ID_PATTERN, SOURCE_PATTERN, Alarm, Run, typed

BLANK = State()
Label: Any = str | None


class Replay:
    """Applies events in order to what was known before them."""

    def __init__(self, before: dict[str, State] | None = None) -> None:
        self.states: dict[str, State] = dict(before or {})
        self.runs: dict[int, tuple[str, str, Run | None]] = {}
        self.findings: int | None = None
        self.inherited: int | None = None
        self.offset = 0
        self.number = 0

    def apply(self, line: events.Line) -> None:
        """Apply one line; one that is torn or damaged says nothing."""
        if line.event is None:
            return
        self.offset = line.end
        event = line.event
        self.number = event["n"]
        # Of a later program, or not as we write it.
        with suppress(KeyError, ValueError, TypeError, OverflowError, DamageError):
            self._apply(event)

    def _apply(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "run_started":
                self.runs[event["n"]] = (_source(event["source"]), event["at"], None)
            case "run" | "folded":
                run = typed(event | _folded_run(event), Run, "a run in the event log")
                number = _countable(event.get("run", event["n"]))
                self.runs[number] = (_source(run.source), run.started_at.isoformat(), run)
            case "pin":
                self._change(event, pinned=True, label=typed(event.get("label"), Label, "a label"))
            case "unpin":
                self._change(event, pinned=False)
            case "alarm":
                self._change(event, alarm=typed(event["alarm"], Alarm, "an alarm"))
            case "acknowledge":
                self._change(event, alarm=None)
            case "verified":
                self.findings = _countable(event["findings"])
            case "pruned":
                self.inherited = _summable(event["inherited_bytes"])
            case "proof":
                self._change(event, verified_at=datetime.fromisoformat(event["at"]))

    def _change(self, event: dict[str, Any], **fields: Any) -> None:
        backup = event["backup"]
        if not ID_PATTERN.fullmatch(backup):
            raise ValueError("a backup has another kind of name")
        self.states[backup] = self.states.get(backup, BLANK)._replace(**fields)


def _countable(number: Any) -> int:
    """Return a number that SQLite can hold; another one would keep the catalog from being made."""
    if not isinstance(number, int) or not 0 <= number < 1 << 63:
        raise ValueError("no number of ours")
    return int(number)


def _summable(number: Any) -> int:
    """Return a number that may be less than none, and that can be added to others in SQLite."""
    return _countable(number) if isinstance(number, int) and number >= 0 else -_countable(-number)


def _source(name: str) -> str:
    if not SOURCE_PATTERN.fullmatch(name):
        raise ValueError("a source has another kind of name")
    return name


def _folded_run(event: dict[str, Any]) -> dict[str, Any]:
    if event["event"] == "run":
        return {}
    return {"started_at": event["at"], "outcome": "skipped", "reason": "unchanged"}
