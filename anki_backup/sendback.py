"""Putting notes of a backup back into an account: through a copy of its mirror, and one ordinary sync.

The copy is a device of its own that is thrown away. Nothing is replaced: the server
takes the notes as it takes those of any device, and where it would want one side to
replace the other nothing is sent. What can't be undone by us is told before: other
devices have the notes at their next sync.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

from anki_backup import library, push, putback, regain, swap
from anki_backup.errors import AnkibakError, DamageError, SourceError
from anki_backup.gather import Options
from anki_backup.model import Backup
from anki_backup.putback import Done, Prepared, Wish
from anki_backup.repository import Repository
from anki_backup.sender import Sender
from anki_backup.sources import Source
from anki_backup.temporary import TemporaryFolder


def save(repository: Repository, source: Source, wish: Wish, options: Options) -> Backup:
    """Back up and pin the account as it is now; an account that was emptied gets nothing from here."""
    with repository.writing(f"restore-notes {source.name}", options.wait_s):
        return putback.safety(repository, source, wish, options, [])


def perform(
    repository: Repository,
    driver: Callable[[], Source],
    source: Source,
    prepared: Prepared,
    options: Options,
) -> Done:
    """Send the notes, fetch the account again, and see that they are in it as they were.

    SourceError, and nothing was sent, if the account changed since it was saved, or if
    an ordinary sync is not possible.
    """
    wish, saved = prepared.wish, prepared.saved
    assert saved is not None, "an account was backed up before"
    sender = cast(push.AccountSource, source).sender()
    told: dict[str, object] = {
        "source": source.name,
        "from": saved.id,
        "to": wish.backup.id,
        "safety": saved.id,
    }
    told |= {"live": True, "pushed": True, "who": wish.who}
    with (
        repository.writing(f"restore-notes {source.name}", options.wait_s),
        TemporaryFolder(prefix=swap.WORK, dir=repository.root / "cache") as work,
        swap.used(work),
    ):
        copy = Path(work) / "collection.anki2"
        shutil.copyfile(source.capture(Path(work), 0).path, copy)
        with library.zoned(sender.zone):
            putback.graft(wish, prepared.then, copy, prepared.package, prepared.notes)
        if not sender.is_as_mirrored(empty=False):
            raise SourceError(
                f"the account at {sender.server} changed meanwhile, so nothing was sent to it",
                hint="Let no device sync for a moment, and run it again.",
            )
        repository.record("putback", **told, outcome="pushing")
        try:
            sender.merge(copy)
        except AnkibakError:
            repository.record("putback", **told, outcome="failed")
            raise
        warnings = list(prepared.warnings)
        if prepared.media:
            before = push.Saved(saved, empty=False)
            warnings += push.send_media(repository, sender, copy, prepared.media, before)
        _look_again(driver(), sender, prepared, Path(work))
        number = repository.record("putback", **told, outcome="done")
    return Done(number, saved.id, warnings)


def _look_again(account: Source, sender: Sender, prepared: Prepared, work: Path) -> None:
    """Fetch the account as any device would, and compare the notes with what they were."""
    account.look()
    fetched = account.capture(work, 0).path
    wish = prepared.wish
    left = regain.compare(prepared.then, fetched, prepared.notes.wanted, scheduling=wish.scheduling)
    if left.wanted:
        raise DamageError(
            f"{len(left.wanted)} notes in the account at {sender.server} are not what was sent",
            hint="See what changed: ankibak run, then ankibak diff",
        )
