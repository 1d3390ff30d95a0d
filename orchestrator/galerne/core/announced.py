"""How much of what tool workers announce is taken in, whoever they are. Pure.

Whoever may publish on `presence.tools` can announce anything, and every executor, planner and
`galerne tools` reads it. Real fleets stay far below these bounds; above them, what came first
stays.
"""

from collections.abc import Mapping, Sized
from typing import Final

import msgspec

from galerne.messages.tools import ToolsPresent

MOST_TOOLS: Final = 1_000
"""Tools of one worker: an API with an operation a tool comes to some hundreds."""
MOST_WORKERS: Final = 2_000
MOST_IN_ALL: Final = 20_000
"""Tools of all workers together, each counted once for each worker that serves it."""
LONGEST_NAME: Final = 256
"""Characters of a worker's name."""

_SHOWN: Final = 3


def within_bounds(said: ToolsPresent) -> ToolsPresent:
    """The announcement with the first `MOST_TOOLS` of its tools."""
    if len(said.tools) <= MOST_TOOLS:
        return said
    return msgspec.structs.replace(said, tools=said.tools[:MOST_TOOLS])


def has_room(sizes: Mapping[str, int], worker: str, tools: Sized) -> bool:
    """Whether a worker with these tools is taken in beside the known ones, by their tools' number.

    One that is known keeps its place, but not for more tools than there is room for.
    """
    others = sum(sizes.values()) - sizes.get(worker, 0)
    place = worker in sizes or len(sizes) < MOST_WORKERS
    return place and len(worker) <= LONGEST_NAME and others + len(tools) <= MOST_IN_ALL


def in_short(refused: list[tuple[str, str]]) -> str:
    """The first tools that cannot be called and why, and how many more there are: one line."""
    told = "; ".join(f"{name}: {why}" for name, why in refused[:_SHOWN])
    more = len(refused) - _SHOWN
    return told if more <= 0 else f"{told}; and {more} more"


class Allowance:
    """So many lines at once, and one more each second: for a log that strangers write to."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left, self._at = float(most), 0.0

    def take(self, now: float) -> bool:
        """Whether there is one left; `now` in seconds, never falling."""
        self._left = min(float(self._most), self._left + now - self._at)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
