"""Which tools are served now, as their workers announce them."""

import anyio

from galerne.bus.connection import Bus
from galerne.messages.codec import decode_tools_present
from galerne.messages.tools import ToolSpec, ToolsPresent
from galerne.runtime.presence import Heard, listen

HEARTBEAT = 1.0
"""Seconds between a tool worker's announcements."""
PATIENCE = 3.0
"""Seconds that a directory without any tool waits for an announcement: workers restart."""


class ToolDirectory:
    """Listens to `presence.tools`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._heard: Heard[ToolsPresent] = Heard(HEARTBEAT)
        self._empty_since: float | None = anyio.current_time()
        self._changed = anyio.Event()

    async def start(self) -> None:
        await listen(self._bus, "tools", self._hear)

    async def _hear(self, data: bytes) -> None:
        said = decode_tools_present(data)
        now = anyio.current_time()
        if self._heard.hear(said.worker, said, now, leaving=said.leaving):
            changed, self._changed = self._changed, anyio.Event()
            changed.set()

    def specs(self) -> dict[str, ToolSpec]:
        """The tools by name, in the order of their names."""
        now = anyio.current_time()
        self._heard.expire(now)
        workers = sorted(self._heard.members().items())
        if workers:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        found = {spec.name: spec for _, said in workers for spec in said.tools}
        return dict(sorted(found.items()))

    async def settled(self) -> dict[str, ToolSpec]:
        """The tools; where there are none at all, after waiting a little for some to come."""
        while not (specs := self.specs()):
            left = (self._empty_since or 0.0) + PATIENCE - anyio.current_time()
            if left <= 0:
                break
            with anyio.move_on_after(left):
                await self._changed.wait()
        return specs

    async def find(self, name: str, patience: float = PATIENCE) -> ToolSpec | None:
        """A tool by name, waiting a little for a worker that restarts."""
        with anyio.move_on_after(patience):
            while name not in self.specs():
                await self._changed.wait()
        return self.specs().get(name)
