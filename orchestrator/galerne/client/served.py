"""Which tools a fleet serves at this moment: its tool workers are asked, and say so at once."""

import anyio

from galerne.bus.connection import Bus, Message
from galerne.core.announced import has_room, within_bounds
from galerne.core.tool_versions import offers, preferred
from galerne.errors import InvalidMessageError
from galerne.messages.codec import decode_tools_heard
from galerne.messages.tools import ToolSpec, ToolsPresent


async def tool_workers(bus: Bus, patience: float) -> list[ToolsPresent]:
    """By name, all that answer within `patience` seconds. Raises UnavailableError."""
    found: dict[str, ToolsPresent] = {}
    sizes: dict[str, int] = {}

    async def hear(message: Message) -> None:
        try:
            said = decode_tools_heard(message.data)
        except InvalidMessageError:
            return
        if not isinstance(said, ToolsPresent):
            return
        if said.leaving:
            found.pop(said.worker, None)
            sizes.pop(said.worker, None)
        elif has_room(sizes, said.worker, (said := within_bounds(said)).tools):
            found[said.worker] = said
            sizes[said.worker] = len(said.tools)

    heard = await bus.subscribe(bus.subjects.presence("tools"), hear)
    try:
        await bus.send(bus.subjects.presence_query("tools"), b"")
        await anyio.sleep(patience)
    finally:
        with anyio.CancelScope(shield=True):
            await heard.unsubscribe()
    return [found[worker] for worker in sorted(found)]


async def served_tools(bus: Bus, patience: float) -> dict[str, ToolSpec]:
    """By name, each in its newest version. Raises UnavailableError."""
    return preferred(offers(await tool_workers(bus, patience)))
