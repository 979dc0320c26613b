"""`python -m anki_backup`, and what the installed `ankibak` calls."""

from __future__ import annotations

import gc
import sys

from anki_backup import __version__, signals


def main() -> int:
    """Run the program and return its exit code; a signal while it loads ends it without a trace."""
    signals.die_at_once()
    if sys.argv[1:] == ["--version"] and _say_version():
        return 0
    # Loading makes many objects and no garbage: not looking for any, then and at the end, saves 15 ms.
    gc.set_threshold(50_000)
    from anki_backup import cli

    code = cli.main()
    gc.freeze()
    return code


def _say_version() -> bool:
    # Without this shortcut the answer would wait 50 ms for Typer to load.
    try:
        print("ankibak", __version__, flush=True)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
