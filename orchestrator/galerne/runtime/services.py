"""What all attempts of one worker share: its connections, its models, its tools, its clock."""

from collections.abc import Callable

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog
from galerne.models.ladder import Ladder
from galerne.planner.prompt import PACKAGED
from galerne.planner.prompts import Prompts
from galerne.runtime.blobs import LargeValues
from galerne.runtime.spool import Spool
from galerne.runtime.tool_caller import ToolCaller
from galerne.runtime.tool_directory import ToolDirectory


class Services:
    """`ladder` has the worker's own model, and those that a task goes on with."""

    def __init__(
        self,
        bus: Bus,
        ladder: Ladder,
        spool: Spool,
        directory: ToolDirectory,
        caller: ToolCaller,
        clock: Callable[[], float],
        prompts: Prompts = PACKAGED,
    ) -> None:
        self.bus = bus
        self.facts = FactLog(bus)
        self.large = LargeValues(bus)
        self.ladder = ladder
        self.spool = spool
        self.directory = directory
        self.caller = caller
        self.clock = clock
        self.prompts = prompts
