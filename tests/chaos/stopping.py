"""A worker that stops itself at a boundary (SIGSTOP), as a suspended machine would stop it.

It lives, and goes on when the harness tells it to (SIGCONT): a lease may have run out meanwhile,
and its work may have been done by another. `galerne.faults` knows only of deaths, so the zygote
arms this in a process that it has just forked.
"""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from galerne.faults import arm

VARIABLE = "CHAOS_STOP"
"""`<point>:<n>:<file>`: stop when `point` is reached for the nth time; the file is made before."""


def arm_from(environ: Mapping[str, str]) -> None:
    """Arm what `CHAOS_STOP` asks for, if it does."""
    if wanted := environ.get(VARIABLE):
        point, number, file = wanted.split(":", 2)
        arm(_Stopper(point, int(number), Path(file)))


class _Stopper:
    def __init__(self, point: str, number: int, mark: Path) -> None:
        self._point = point
        self._left = number
        self._mark = mark

    def __call__(self, point: str) -> None:
        if point != self._point:
            return
        self._left -= 1
        if self._left == 0:
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGSTOP)
