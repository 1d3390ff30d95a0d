"""What all attempts of one worker share: its connections, its model, its tools, its clock."""

from collections.abc import Callable
from typing import Protocol

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog
from galerne.core.budget import Prices
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.runtime.blobs import LargeValues
from galerne.runtime.spool import Spool
from galerne.runtime.tool_caller import ToolCaller
from galerne.runtime.tool_directory import ToolDirectory


class Model(Protocol):
    """What the runtime needs of a model client."""

    async def ask(
        self,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        key: str | None = None,
    ) -> ChatReply: ...


class Services:
    """`prices` are those of this worker's model, which costs nothing where none are given."""

    def __init__(
        self,
        bus: Bus,
        model: Model,
        spool: Spool,
        directory: ToolDirectory,
        caller: ToolCaller,
        clock: Callable[[], float],
        prices: Prices = Prices(),  # noqa: B008 - frozen
    ) -> None:
        self.bus = bus
        self.facts = FactLog(bus)
        self.large = LargeValues(bus)
        self.model = model
        self.spool = spool
        self.directory = directory
        self.caller = caller
        self.clock = clock
        self.prices = prices
