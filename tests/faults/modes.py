"""What can be done to a system call, and how a program may end after it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.faults import tracing
from tests.faults.tracing import Point
from tests.faults.trial import HUNG, Outcome

SIGNALS = {"kill": "SIGKILL", "term": "SIGTERM", "int": "SIGINT"}
ERRORS = {name: name.upper() for name in ["enospc", "eio", "edquot", "erofs", "eacces", "emfile", "eintr"]}
NEEDS_NO_SPACE = frozenset({"unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat", "utimensat"})
KILLED = -9

# Which exit statuses are right after an `error`, `term` or `int`; after what is not named, all are.
Codes = Mapping[str, frozenset[int]]


def kind(mode: str) -> str:
    """Return a mode without the `+` that lets an error last."""
    return mode.rstrip("+")


def known(mode: str) -> bool:
    """Tell whether there is such a mode."""
    return kind(mode) in SIGNALS | ERRORS


def fits(mode: str, point: Point) -> bool:
    """Tell whether the kernel could do that: deleting never fails for want of space."""
    return not (kind(mode) in ("enospc", "edquot") and point.name in NEEDS_NO_SPACE)


def allowed(words: list[str]) -> Codes:
    """Read codes as a person types them: `error=0,8`."""
    pairs = (word.split("=", 1) for word in words)
    return {name: frozenset(int(code) for code in codes.split(",")) for name, codes in pairs}


def injection(mode: str, point: Point, shift: int) -> str:
    """Return strace's words for a mode at a point."""
    what = f"error={ERRORS[kind(mode)]}" if kind(mode) in ERRORS else f"signal={SIGNALS[kind(mode)]}"
    return f"{point.name}:{what}:when={max(1, point.nth + shift)}{'+' if mode.endswith('+') else ''}"


def struck(mode: str, point: Point, code: int, text: str, tree: Path, shift: int = 0) -> bool:
    """Tell from a log, and from how the program ended, whether a fault came, and at its point."""
    if mode == "kill" and code != KILLED:
        return False
    if mode in ("term", "int") and not tracing.signalled(text, SIGNALS[mode]):
        return False
    return tracing.hit(text, point, tree, shift=shift, injected=kind(mode) in ERRORS)


def exit_status(mode: str, outcome: Outcome) -> int:
    """Return how the program ended; one that died of SIGTERM or SIGINT as a shell would say it."""
    return 128 - outcome.code if outcome.code < 0 and kind(mode) != "kill" else outcome.code


def complaint(mode: str, outcome: Outcome, codes: Codes) -> str:
    """Return what is wrong with the way in which a faulted program ended."""
    if outcome.code == HUNG:
        return "hung"
    code = exit_status(mode, outcome)
    right = codes.get("error" if kind(mode) in ERRORS else kind(mode))
    if right is not None and code not in right:
        return f"ended with exit {code}: {outcome.last_line}"
    return ""
