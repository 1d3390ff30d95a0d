"""Conversations from outside: which there are, what was said in one, and forgetting it.

A session begins with the first of its jobs that succeeds, and is nothing but its turns. They do not
go with their jobs: they stay until they are forgotten, or too old (`retention.sessions`).
"""

from collections.abc import Sequence

import anyio
import msgspec

from galerne.bus.connection import Bus
from galerne.bus.sessions import Sessions
from galerne.client.patience import patiently
from galerne.errors import NotFoundError
from galerne.messages.ids import TenantId
from galerne.messages.sessions import Said

AT_ONCE = 16
"""Sessions whose newest turns are asked for side by side."""


class SessionSummary(msgspec.Struct, frozen=True):
    """`goal` is that of the newest turn, which was said `at` (Unix seconds)."""

    name: str
    turns: int
    goal: str
    at: float


class Session:
    """One conversation of a tenant, by its name; `Client.session` gives it."""

    def __init__(self, bus: Bus, tenant: TenantId, name: str) -> None:
        self.name = name
        self.tenant = tenant
        self._bus = bus
        self._sessions = Sessions(bus)

    async def turns(self) -> Sequence[Said]:
        """What was said, oldest first. Raises NotFoundError where nothing was, UnavailableError."""
        found = await patiently(self._bus, lambda: self._sessions.read(self.tenant, self.name))
        if not found:
            raise self._unknown()
        return found

    async def forget(self) -> int:
        """Take all turns away for good; gives their number.

        A job that is still running adds its own later. Raises NotFoundError, UnavailableError.
        """
        gone = await patiently(self._bus, lambda: self._sessions.forget(self.tenant, self.name))
        if not gone:
            raise self._unknown()
        return gone

    def _unknown(self) -> NotFoundError:
        return NotFoundError(
            f"tenant {self.tenant} has no session {self.name}: it begins with its first answer"
        )


async def summaries(bus: Bus, tenant: TenantId) -> list[SessionSummary]:
    """The tenant's sessions, the one with the newest turn first. Raises TransientError."""
    sessions = Sessions(bus)
    found: list[SessionSummary] = []
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def look(name: str, turns: int) -> None:
        async with limiter:
            last = await sessions.last(tenant, name)
        if last is not None:  # else it was forgotten meanwhile
            found.append(SessionSummary(name, turns, last.goal, last.at))

    counts = await sessions.counts(tenant)
    async with anyio.create_task_group() as tasks:
        for name, turns in counts.items():
            tasks.start_soon(look, name, turns)
    return sorted(found, key=lambda one: (-one.at, one.name))
