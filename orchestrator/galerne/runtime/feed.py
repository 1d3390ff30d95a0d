"""Looks after the feed of the task queue: one that stands still is woken (`bus.feed`)."""

from collections.abc import Callable

import anyio

from galerne.bus import feed
from galerne.bus.connection import Bus
from galerne.errors import GalerneError
from galerne.logs import get_logger

log = get_logger("galerne.runtime.feed")

LOOK = 2.0
"""Seconds between two looks; two in a row must find it still, as it takes a moment to begin."""
SETTLE = 10.0
"""Seconds that a feed that was woken has until it is looked at again."""


async def look_after_feed(bus: Bus, is_mine: Callable[[], bool]) -> None:
    """Until cancelled. Of several coordinators, the one whose job it is looks (`is_mine`)."""
    still = False
    while True:
        await anyio.sleep(LOOK)
        if not is_mine():
            still = False
            continue
        try:
            before, still = still, await feed.stands_still(bus)
            if before and still:
                log.warning("the task queue hears nothing of the log: another server is to lead it")
                await feed.wake(bus)
                await anyio.sleep(SETTLE)
                still = False
        except GalerneError as error:
            log.debug("nobody knows whether the task queue is fed", error=str(error))
