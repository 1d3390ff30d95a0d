"""A tool worker in another language, which says whatever it likes."""

from galerne.bus.connection import Message
from galerne.messages.codec import encode
from galerne.messages.tools import ToolReply, ToolSpec, ToolsPresent
from integration.fleet import Fleet


async def stranger(fleet: Fleet, *replies: ToolReply | bytes, name: str = "odd") -> None:
    """It announces the tool and answers each call with all of the replies."""

    async def serve(message: Message) -> None:
        for reply in replies:
            data = reply if isinstance(reply, bytes) else encode(reply)
            await fleet.bus.send(message.reply, data)

    async def announce(_: Message) -> None:
        spec = ToolSpec(name=name, description="Odd", parameters={}, effect="once")
        said = ToolsPresent(worker=name, tools=(spec,), capacity=1, active=0)
        await fleet.bus.send(fleet.bus.subjects.presence("tools"), encode(said))

    await fleet.bus.subscribe(fleet.bus.subjects.tool(name), serve)
    await fleet.bus.subscribe(fleet.bus.subjects.presence_query("tools"), announce)
    await fleet.bus.flush()
