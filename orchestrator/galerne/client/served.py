"""Which tools a fleet serves at this moment: its tool workers are asked, and say so at once."""

import anyio

from galerne.bus.connection import Bus, Message
from galerne.errors import InvalidMessageError
from galerne.messages.codec import decode_tools_present
from galerne.messages.tools import ToolSpec


async def served_tools(bus: Bus, patience: float) -> dict[str, ToolSpec]:
    """By name, from all that answer within `patience` seconds. Raises UnavailableError."""
    found: dict[str, ToolSpec] = {}

    async def hear(message: Message) -> None:
        try:
            said = decode_tools_present(message.data)
        except InvalidMessageError:
            return
        if not said.leaving:
            found.update({spec.name: spec for spec in said.tools})

    heard = await bus.subscribe(bus.subjects.presence("tools"), hear)
    try:
        await bus.send(bus.subjects.presence_query("tools"), b"")
        await anyio.sleep(patience)
    finally:
        with anyio.CancelScope(shield=True):
            await heard.unsubscribe()
    return dict(sorted(found.items()))
