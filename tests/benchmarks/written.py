"""How seconds, sizes and ratios are written: three digits, KB and MB as powers of 1,000."""

from __future__ import annotations


def seconds(value: float) -> str:
    """Write a duration with three digits."""
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def size(value: float) -> str:
    """Write a size in powers of 1,000 with three digits."""
    for unit in ("bytes", "KB", "MB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def times(ratio: float) -> str:
    """Write a ratio."""
    return f"{ratio:.2f} ×"
