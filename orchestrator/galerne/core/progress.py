"""What a tool says of its progress, made fit for a screen. Pure."""

import math
from typing import Final

LONGEST_NOTE: Final = 200
"""Characters of what a tool says of its progress."""


def shortened(note: str) -> str:
    """One line, printable, of bounded length: it is shown to people as it is."""
    line = " ".join(note[: 4 * LONGEST_NOTE].split())
    clean = "".join(one for one in line if one.isprintable())
    return clean if len(clean) <= LONGEST_NOTE else f"{clean[: LONGEST_NOTE - 1]}…"


def bounded(fraction: float | None) -> float | None:
    """From 0 to 1; what is no number says nothing."""
    if fraction is None or not math.isfinite(fraction):
        return None
    return min(1.0, max(0.0, float(fraction)))
