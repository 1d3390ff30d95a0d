"""Which tools are served now, as their workers announce them."""

import anyio

from galerne.bus.connection import Bus
from galerne.messages.codec import decode_tools_present
from galerne.messages.tools import ToolSpec, ToolsPresent
from galerne.runtime.presence import Heard, listen

HEARTBEAT = 1.0
"""Seconds between a tool worker's announcements."""
PATIENCE = 3.0
"""Seconds that a fresh directory waits for the first announcement."""


class ToolDirectory:
    """Listens to `presence.tools`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._heard: Heard[ToolsPresent] = Heard(HEARTBEAT)
        self._since = anyio.current_time()
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
        self._heard.expire(anyio.current_time())
        workers = sorted(self._heard.members().items())
        found = {spec.name: spec for _, said in workers for spec in said.tools}
        return dict(sorted(found.items()))

    async def settled(self) -> dict[str, ToolSpec]:
        """The tools, waiting for the first announcement if this directory is new."""
        while not (specs := self.specs()):
            left = self._since + PATIENCE - anyio.current_time()
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
