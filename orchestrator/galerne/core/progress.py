"""What a tool says of its progress, made fit for a screen. Pure."""

import math
from typing import Final

from galerne.core.printable import printable_line

LONGEST_NOTE: Final = 200
"""Characters of what a tool says of its progress."""


def shortened(note: str) -> str:
    """One line, printable, of bounded length: it is shown to people as it is."""
    return printable_line(note, LONGEST_NOTE)


def bounded(fraction: float | None) -> float | None:
    """From 0 to 1; what is no number says nothing."""
    if fraction is None or not math.isfinite(fraction):
        return None
    return min(1.0, max(0.0, float(fraction)))
