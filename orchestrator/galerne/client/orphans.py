"""Blobs without a job: put for a submission that was never sent, or left by a late writer.

put more than an hour ago ─▶ no `submitted`, no `end`, no request in the queue ─▶ collected
"""

from galerne.bus.blobs import Blobs
from galerne.bus.connection import Bus
from galerne.bus.log import FactLog
from galerne.client.queued import require
from galerne.errors import NotFoundError
from galerne.messages.subjects import JobAddress

PATIENCE = 3600.0
"""Seconds that a client has from its first blob to its request: 256 MB over a slow line."""


async def collect_orphans(bus: Bus, now: float) -> int:
    """Delete them; gives the number of jobs that never were. `now` is Unix seconds.

    Raises TransientError.
    """
    blobs, log = Blobs(bus, 0), FactLog(bus)
    count = 0
    for held in await blobs.jobs():
        address = bus.subjects.address(held.tenant, held.job)
        if held.since + PATIENCE > now or await _is_known(bus, log, address):
            continue
        await blobs.collect(held.tenant, held.job)
        count += 1
    return count


async def _is_known(bus: Bus, log: FactLog, address: JobAddress) -> bool:
    if await log.last(address, "end") is not None:  # they go with their job
        return True
    try:
        await require(bus, address)
    except NotFoundError:
        return False
    return True
