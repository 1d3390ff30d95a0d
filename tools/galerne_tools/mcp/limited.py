"""What a server writes, for the log: so many lines, each printable and short."""

import time
from collections.abc import Callable

from galerne.core.printable import printable_line

Say = Callable[[str], None]
_LONGEST = 500


class Limited:
    """Hands on at most `most` lines in `seconds`: a server that chatters must not fill the log."""

    def __init__(
        self,
        say: Say,
        most: int = 50,
        seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._until = 0.0
        self._said = 0

    def __call__(self, line: str) -> None:
        now = self._clock()
        if now >= self._until:
            self._until, self._said = now + self._seconds, 0
        self._said += 1
        if self._said < self._most:
            self._say(line)
        elif self._said == self._most:
            self._say("(it says too much; the rest of it is left out for a while)")


def printable(text: str) -> str:
    """One short line without what steers a terminal."""
    return printable_line(text, _LONGEST)
