"""The places for running tasks in one worker, and whose turn it is when one becomes free.

Tenants come first: the one with the fewest tasks running here; of several, the one whose turn is
longest ago. So who has work waiting and none running is passed over at most once by each other.
Then priority: a tenant's own order among its own work, and no claim on what it shares with others.
Then arrival.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable

import anyio
import msgspec

from galerne.messages.facts import PRIORITIES, Priority
from galerne.messages.ids import TenantId

REMEMBERED = 4096
"""Tenants of which it is known when they had their last turn."""


class Waiter(msgspec.Struct, frozen=True, order=True):
    """Who waits for a place: `rank` is that of its priority, `number` that of its arrival."""

    rank: int
    number: int
    tenant: TenantId


class Turns:
    """Who waits, who runs, and who is next. Pure: no clock, no awaiting."""

    def __init__(self) -> None:
        self._waiting: dict[TenantId, list[Waiter]] = {}
        self._running: Counter[TenantId] = Counter()
        self._last: OrderedDict[TenantId, None] = OrderedDict()
        """Tenants in the order of their last turns."""
        self._turn: dict[TenantId, int] = {}
        self._arrivals = 0
        self._turns = 0

    def __len__(self) -> int:
        """How many wait."""
        return sum(len(queue) for queue in self._waiting.values())

    def running(self, tenant: TenantId) -> int:
        return self._running[tenant]

    def arrive(self, tenant: TenantId, priority: Priority) -> Waiter:
        self._arrivals += 1
        waiter = Waiter(PRIORITIES.index(priority), self._arrivals, tenant)
        heapq.heappush(self._waiting.setdefault(tenant, []), waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """It waits no longer."""
        queue = self._waiting[waiter.tenant]
        queue.remove(waiter)
        heapq.heapify(queue)
        if not queue:
            del self._waiting[waiter.tenant]

    def next(self) -> Waiter | None:
        """Take the next one out of those that wait; it runs from now on."""
        if not self._waiting:
            return None
        tenant = min(self._waiting, key=self._standing)
        waiter = self._waiting[tenant][0]
        self.leave(waiter)
        self.begin(tenant)
        return waiter

    def begin(self, tenant: TenantId) -> None:
        """One task of a tenant runs from now on."""
        self._turns += 1
        self._running[tenant] += 1
        self._turn[tenant] = self._turns
        self._last[tenant] = None
        self._last.move_to_end(tenant)
        if len(self._last) > REMEMBERED:
            forgotten, _ = self._last.popitem(last=False)
            del self._turn[forgotten]

    def end(self, tenant: TenantId) -> None:
        """One of a tenant's running tasks is over."""
        self._running[tenant] -= 1
        if self._running[tenant] <= 0:
            del self._running[tenant]

    def _standing(self, tenant: TenantId) -> tuple[int, int]:
        return self._running[tenant], self._turn.get(tenant, 0)


class Slots:
    """`size` tasks run at once. One that waits calls `keep` now and then, to stay ours."""

    def __init__(self, size: int, keep_every: float) -> None:
        self.size = size
        self._free = size
        self._keep_every = keep_every
        self._turns = Turns()
        self._called: dict[Waiter, anyio.Event] = {}
        self.away = 0
        """Tasks that have left their places for a while, and are still in memory."""

    @property
    def free(self) -> int:
        return self._free

    def take_now(self, tenant: TenantId) -> bool:
        """Take a place if one is free and nobody waits for it."""
        if self._free <= 0 or self._called:
            return False
        self._free -= 1
        self._turns.begin(tenant)
        return True

    async def take(self, tenant: TenantId, priority: Priority, keep: Callable[[], None]) -> None:
        """Wait for a place, which `give` frees again."""
        if self.take_now(tenant):
            return
        waiter = self._turns.arrive(tenant, priority)
        turn = self._called[waiter] = anyio.Event()
        try:
            while not turn.is_set():
                with anyio.move_on_after(self._keep_every):
                    await turn.wait()
                    return
                keep()
        except BaseException:  # cancelled while waiting: the place must not be lost
            if turn.is_set():
                self.give(tenant)
            else:
                self._turns.leave(waiter)
                del self._called[waiter]
            raise

    def give(self, tenant: TenantId) -> None:
        """Free a place of a tenant's: for the next of those that wait, if any does."""
        self._turns.end(tenant)
        waiter = self._turns.next()
        if waiter is None:
            self._free += 1
        else:
            self._called.pop(waiter).set()


def room(*, size: int, free: int, tenants: int, running: int) -> int:
    """How many tasks of one queue a worker may have on their way or waiting for a place.

    One, so that a fair choice is there when a place becomes free; with places free as many as one
    tenant's share of all `size`, and more where the queue has shown that it has them: one more
    than of it are `running`.
    """
    share = max(1, size // max(1, tenants))
    return max(1, min(free, max(share, running + 1)))
