"""A temporary folder goes at the end, also where a signal breaks its removal off."""

from __future__ import annotations

import os
import shutil

import pytest

from anki_backup.errors import Terminated
from anki_backup.temporary import TemporaryFolder


@pytest.mark.parametrize("signalled", [Terminated("stopped by SIGTERM"), KeyboardInterrupt()])
def test_a_signal_in_its_removal_leaves_nothing(tmp_path, monkeypatch, signalled):
    def broken_off(path, *args, **options):
        monkeypatch.undo()
        os.unlink(os.path.join(path, "first"))
        raise signalled

    with pytest.raises(type(signalled)), TemporaryFolder(prefix="ankibak-", dir=tmp_path) as folder:
        for name in ("first", "second"):
            open(os.path.join(folder, name), "w").close()
        monkeypatch.setattr(shutil, "rmtree", broken_off)
    assert not os.path.exists(folder)
