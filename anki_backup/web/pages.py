"""The pages, all of them."""

from __future__ import annotations

from anki_backup.web import cards, changes, home, lists, lost, single

HANDLERS = [home.show, *lists.HANDLERS, *single.HANDLERS, *changes.HANDLERS, *lost.HANDLERS, *cards.HANDLERS]
