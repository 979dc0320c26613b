"""What can't be taken back is asked for, and never done where nobody can answer."""

from __future__ import annotations

import io

import pytest

from anki_backup import terminal
from anki_backup.commands import Context
from anki_backup.errors import UsageError


@pytest.mark.parametrize(
    ("typed", "word", "agreed"),
    [
        ("y\n", None, True),
        ("YES\n", None, True),
        ("\n", None, False),
        ("", None, False),
        ("home\n", "home", True),
        ("y\n", "home", False),
        ("\n", "home", False),
    ],
)
def test_only_a_clear_yes_is_one(typed, word, agreed, monkeypatch):
    monkeypatch.setattr(terminal, "is_terminal", lambda *_: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    if agreed:
        Context().confirm("Really?", yes=False, word=word)
    else:
        with pytest.raises(UsageError, match="nothing was done"):
            Context().confirm("Really?", yes=False, word=word)


def test_without_a_terminal_only_yes_goes_on(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError, match="no terminal"):
        Context().confirm("Really?", yes=False)
    Context().confirm("Really?", yes=True)
