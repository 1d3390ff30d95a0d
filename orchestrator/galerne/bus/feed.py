"""The feed from the log to the task queue, which nats-server keeps, and how to wake it.

In a cluster the leader of TASKS asks the leader of EVENTS for what is ready. One that was elected
while EVENTS had no leader has asked nobody, and asks again only 40 s later (measured with 2.15.1:
30 s for the lost question, 10 until the next). A leader that steps down has a successor that asks
at once.
"""

from typing import Any

import msgspec

from galerne.bus.connection import Bus

SILENT = 5.0
"""Seconds without a word from EVENTS, which says one each second, after which the feed is dead."""
STEP_DOWN = "STREAM.LEADER.STEPDOWN"


class Source(msgspec.Struct):
    """`active`: nanoseconds since something was heard of it; below 0: nothing ever was."""

    active: int = -1


class Peers(msgspec.Struct):
    replicas: list[Any] = []


class Fed(msgspec.Struct):
    """What `STREAM.INFO` says of a stream that copies others."""

    cluster: Peers | None = None
    sources: list[Source] = []

    @property
    def stands_still(self) -> bool:
        """Whether its sources are silent, and another server could lead it."""
        silent = any(not 0 <= source.active <= SILENT * 1e9 for source in self.sources)
        return silent and self.cluster is not None and bool(self.cluster.replicas)


async def stands_still(bus: Bus) -> bool:
    """Whether the log is there and the task queue does not hear of it. Raises TransientError."""
    await bus.api(f"STREAM.INFO.{bus.subjects.stream('EVENTS')}")
    info = await bus.api(f"STREAM.INFO.{bus.subjects.stream('TASKS')}")
    return msgspec.convert(info, Fed).stands_still


async def wake(bus: Bus) -> None:
    """Have another server lead the task queue. Raises TransientError."""
    await bus.api(f"{STEP_DOWN}.{bus.subjects.stream('TASKS')}")
