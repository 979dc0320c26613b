"""What may be changed from the web: run, rollback and its undo, pin and unpin, verify.

Nothing here touches a collection or an account: each is one of the program's own
commands, started as a process. Nothing is ever pushed from the web.
"""

from __future__ import annotations

from anki_backup.errors import NotFoundError
from anki_backup.model import Backup
from anki_backup.web import desk
from anki_backup.web.gate import Who
from anki_backup.web.house import House
from anki_backup.web.jobs import Job
from anki_backup.web.replies import Refused


def roll_back(house: House, backup: Backup, who: Who) -> Job:
    """Start a rollback; Refused (429) within the cooldown, (409) while a run or rollback goes on."""
    _configured(house, backup.source)
    if wait := house.desk.cooling(backup.source, desk.now()):
        raise Refused(
            429,
            f"{backup.source} was rolled back a moment ago",
            hint="To go back to what was before, undo that rollback.",
            wait_s=wait,
        )
    _free(house)
    return house.jobs.start(["rollback", backup.id, "--yes", "--json"], _name(who), backup.id)


def undo(house: House, source: str, who: Who) -> Job:
    """Start the undoing of the last rollback of a source."""
    _configured(house, source)
    _free(house)
    return house.jobs.start(["rollback", "--undo", source, "--yes", "--json"], _name(who))


def run(house: House, source: str | None, who: Who) -> Job:
    """Start a run."""
    if source is not None:
        _configured(house, source)
    _free(house)
    return house.jobs.start(["run", *([source] if source else []), "--json"], _name(who))


def verify(house: House, backup: Backup, who: Who) -> Job:
    """Start reading a backup again, all of it, and restoring it as a test: only that is a proof."""
    words = ["verify", backup.id, "--read-data", "--restore", "--json"]
    return house.jobs.start(words, _name(who), backup.id)


def pin(house: House, backup: Backup, label: str, who: Who) -> Job:
    """Start to keep a backup for ever."""
    words = [f"--label={' '.join(label.split())[:200]}"] if label.strip() else []
    return house.jobs.start(["pin", backup.id, *words, "--json"], _name(who), backup.id)


def unpin(house: House, backup: Backup, who: Who) -> Job:
    """Start to keep it no longer."""
    return house.jobs.start(["unpin", backup.id, "--json"], _name(who), backup.id)


def _configured(house: House, source: str) -> None:
    if source not in house.config.sources:
        raise NotFoundError(
            f"there is no source {source}", hint="Configure it, or download the backup and import it."
        )


def _free(house: House) -> None:
    """Two at once would only wait for each other; say so at once.

    Each action is called in the desk's one thread, so that nothing starts in between.
    """
    if house.jobs.are_writing():
        raise Refused(409, "a run or rollback goes on", hint="Wait for its end, then try again.")


def _name(who: Who) -> str:
    return f"token {who.token}" if who.token else "the web view"
