"""A task that this process is at: the message to acknowledge, and the way to stop it."""

import contextlib
import math
from collections.abc import Generator

import anyio

from galerne.bus.queue import Delivery
from galerne.errors import FencedError
from galerne.messages.facts import Priority
from galerne.messages.ids import TaskId, TenantId
from galerne.messages.subjects import JobAddress
from galerne.runtime.lease import Lease
from galerne.runtime.places import Place
from galerne.runtime.slots import Slots

TaskKey = tuple[JobAddress, TaskId]


class InFlight:
    """From the delivery of a task to its acknowledgement."""

    def __init__(
        self, delivery: Delivery, slots: Slots, tenant: TenantId, priority: Priority
    ) -> None:
        self.delivery = delivery
        self.place = Place(slots, tenant, priority, self.keep)
        self.waiting = anyio.CancelScope()
        self.scope = anyio.CancelScope()
        self.job_over = False
        self.fenced: FencedError | None = None
        self.lease: Lease | None = None
        self.keep_at = math.inf
        """When its lease is to be renewed next, by the event loop's clock."""
        self._keeping: anyio.CancelScope | None = None

    @contextlib.contextmanager
    def keeping(self) -> Generator[None]:
        """Around one renewal, which ends with the attempt."""
        with anyio.CancelScope() as self._keeping:
            yield
        self._keeping = None

    def due(self, now: float) -> bool:
        """Whether its lease is to be renewed now, and nobody is at it."""
        return self.keep_at <= now and self._keeping is None

    def let_go(self) -> None:
        """From now on its lease is not renewed, not even by who is just about to."""
        self.keep_at = math.inf
        self.lease = None
        if self._keeping is not None:
            self._keeping.cancel()

    def keep(self) -> None:
        self.delivery.keep()

    def adopt(self, delivery: Delivery) -> None:
        """After a server restart our own task comes again: its new acknowledgement counts."""
        self.delivery = delivery
        if self.lease is not None:
            self.lease.delivery = delivery
