"""The pages, all of them."""

from __future__ import annotations

from anki_backup.web import cards, changes, home, lists, lost, media, single, working

HANDLERS = [
    home.show,
    *lists.HANDLERS,
    *single.HANDLERS,
    *working.HANDLERS,
    *media.HANDLERS,
    *changes.HANDLERS,
    *lost.HANDLERS,
    *cards.HANDLERS,
]
