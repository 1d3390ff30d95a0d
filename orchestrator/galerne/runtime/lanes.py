"""The queues of a worker's lane: one for each tenant and priority, each with a standing pull.

    a coordinator meets a tenant ─▶ makes its queues ─▶ says so ─▶ `look` ─▶ a pull stands at each
    a queue is gone at two looks ─▶ its pull is stopped

A worker that did not hear the news looks for itself every `LOOK` seconds.
"""

from collections.abc import Callable

import anyio
import anyio.abc

from galerne.bus import tenants
from galerne.bus.connection import Bus, Message
from galerne.bus.queue import Delivery, StandingPull
from galerne.bus.topology import lane_consumer
from galerne.errors import GalerneError
from galerne.logs import get_logger
from galerne.messages.facts import Lane, Priority
from galerne.messages.ids import TenantId
from galerne.runtime.slots import Slots, room

log = get_logger("galerne.runtime.lanes")

LOOK = 2.0
"""Seconds between two looks at which queues there are."""
MISSES = 2
"""Looks without a queue after which it counts as gone: a server that has just started may not
list all of them."""

Place = tuple[Priority, TenantId]


class LanePull(StandingPull):
    """Pulls what the worker has room for: its window grows by what runs.

    A delivery counts as waiting until `begin`, and as running from there to `end`.
    """

    def __init__(
        self,
        bus: Bus,
        lane: Lane,
        place: Place,
        callback: Callable[[Delivery], None],
        free: Callable[[int], int],
    ) -> None:
        stream = bus.subjects.stream("TASKS")
        super().__init__(bus, stream, lane_consumer(lane, *place), 1, callback, manual=True)
        self.priority: Priority = place[0]
        self.tenant = place[1]
        self._free = free
        self._running = 0
        self.misses = 0

    def begin(self) -> None:
        """One of those that were delivered has a place."""
        self._running += 1
        self._fill()

    def end(self) -> None:
        """It has left its place; `release` follows."""
        self._running -= 1

    def _fill(self) -> None:
        self.resize(self._running + self._free(self._running))
        super()._fill()


class Lanes:
    """Keeps a pull at every queue of one lane."""

    def __init__(
        self,
        bus: Bus,
        lane: Lane,
        slots: Slots,
        callback: Callable[[Delivery, LanePull], None],
    ) -> None:
        self._bus = bus
        self._lane: Lane = lane
        self._slots = slots
        self._callback = callback
        self._pulls: dict[Place, LanePull] = {}
        self._tenants = 1
        self._news = anyio.Event()
        self._stopped = False

    @property
    def pulls(self) -> list[LanePull]:
        return list(self._pulls.values())

    async def run(
        self,
        tasks: anyio.abc.TaskGroup,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Look for queues until cancelled or stopped; started after the first look."""
        await self._bus.subscribe(self._bus.subjects.presence(tenants.NEWS), self._on_news)
        await self._look(tasks)
        task_status.started()
        while not self._stopped:
            with anyio.move_on_after(LOOK):
                await self._news.wait()
            self._news = anyio.Event()
            await self._look(tasks)

    def stop(self) -> list[LanePull]:
        """Ask for nothing more; gives what may still bring something."""
        self._stopped = True
        for pull in self.pulls:
            pull.stop()
        return self.pulls

    async def _on_news(self, _: Message) -> None:
        self._news.set()

    async def _look(self, tasks: anyio.abc.TaskGroup) -> None:
        try:
            there = await tenants.lanes(self._bus, self._lane)
        except GalerneError as error:  # what is known goes on being served
            log.debug("the queues could not be listed", error=str(error))
            return
        if self._stopped:
            return
        self._tenants = len({tenant for _, tenant in there})
        for place in there - self._pulls.keys():
            pull = self._pulls[place] = self._pull(place)
            tasks.start_soon(pull.run)
        for place, pull in list(self._pulls.items()):
            pull.misses = 0 if place in there else pull.misses + 1
            if pull.misses >= MISSES:
                self._pulls.pop(place).stop()

    def _pull(self, place: Place) -> LanePull:
        def on_delivery(delivery: Delivery) -> None:
            self._callback(delivery, pull)

        pull = LanePull(self._bus, self._lane, place, on_delivery, self._room)
        return pull

    def _room(self, running: int) -> int:
        slots = self._slots
        return room(size=slots.size, free=slots.free, tenants=self._tenants, running=running)
