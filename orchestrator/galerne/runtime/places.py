"""The place that a running task has in its worker, which it can do without while a tool works.

    taken ─▶ running ─┬─▶ over: given back
                      └─▶ a tool is at it for long: given back ─▶ it has answered: taken again

The task itself stays here, with its lease, its message and its call; only what is scarce is left
to others.
"""

from collections.abc import Callable

from galerne.messages.facts import Priority
from galerne.messages.ids import TenantId
from galerne.runtime.slots import Slots

AWAY = 32
"""Tasks for each place of a worker that may have left theirs: each is still in its memory."""


class Place:
    """One task's. `keep` is called now and then while it waits for its turn."""

    def __init__(
        self, slots: Slots, tenant: TenantId, priority: Priority, keep: Callable[[], None]
    ) -> None:
        self._slots = slots
        self._tenant = tenant
        self._priority: Priority = priority
        self._keep = keep
        self._has = False
        self._is_away = False

    def take_now(self) -> bool:
        """Take it if one is free and nobody waits for it."""
        self._has = self._slots.take_now(self._tenant)
        return self._has

    async def take(self) -> None:
        """Wait for it, unless it is ours already."""
        if not self._has:
            await self._slots.take(self._tenant, self._priority, self._keep)
            self._has = True
            self._back()

    def leave(self) -> None:
        """Give it to whoever is next for a while, unless too many have done so."""
        if self._has and self._slots.away < AWAY * self._slots.size:
            self._slots.away += 1
            self._is_away = True
            self._give()

    def end(self) -> None:
        """The task is over: it needs no place any more."""
        self._back()
        if self._has:
            self._give()

    def _give(self) -> None:
        self._has = False
        self._slots.give(self._tenant)

    def _back(self) -> None:
        if self._is_away:
            self._is_away = False
            self._slots.away -= 1
