"""What a probe found: well, doubtful or wrong, in one sentence, and what mends it."""

from typing import Literal

import msgspec

Level = Literal["ok", "warning", "failure"]
"""`warning`: Galerne works all the same, but less well, or it could not be seen. `failure`: jobs
will fail or be counted wrongly until it is mended."""


class Finding(msgspec.Struct, frozen=True):
    """One line of a report. `mend` names a flag or a setting; empty where nothing is to be done."""

    probe: str
    level: Level
    seen: str
    mend: str = ""


def well(probe: str, seen: str) -> Finding:
    return Finding(probe, "ok", seen)


def doubtful(probe: str, seen: str, mend: str) -> Finding:
    return Finding(probe, "warning", seen, mend)


def wrong(probe: str, seen: str, mend: str) -> Finding:
    return Finding(probe, "failure", seen, mend)
