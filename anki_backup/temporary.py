"""A folder for what is only made on the way, gone at the end: also where a signal comes while it goes."""

from __future__ import annotations

import tempfile

from anki_backup.errors import Terminated


class TemporaryFolder(tempfile.TemporaryDirectory[str]):
    """Python's own, whose removal is finished when a signal breaks it off."""

    def cleanup(self) -> None:
        try:
            super().cleanup()
        except (Terminated, KeyboardInterrupt):
            super().cleanup()
            raise
