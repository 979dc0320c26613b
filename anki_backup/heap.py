"""What glibc does with freed memory: keep it for the next delta, or give it back to the system.

mallopt(3) and malloc_trim(3). With another C library nothing happens.
"""

from __future__ import annotations

from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3


def keep() -> None:
    """Keep freed stretches for the next ones: a step of a walk takes a third of the time."""
    _call("mallopt", MMAP_THRESHOLD, 1 << 25)
    _call("mallopt", TRIM_THRESHOLD, 1 << 26)


def keep_steady() -> None:
    """Give each stretch back when it is freed: among small things they leave holes, a gigabyte of them.

    Once it is set, the threshold no longer grows by itself.
    """
    _call("mallopt", MMAP_THRESHOLD, 1 << 19)


def give_back() -> None:
    """Give back what is free by now, before something takes a great deal at once."""
    _call("malloc_trim", 0)


def _call(name: str, *values: int) -> None:
    import ctypes  # 8 ms, only for those who need it

    with suppress(AttributeError):
        getattr(ctypes.CDLL(None), name)(*values)
