"""What tests of your own need: a real NATS server and the honest stand-in for a model server.

    async with nats_server() as server, StandIn(StandInSettings()) as models:
        settings = Settings(bus=BusSettings(server=server.url), …)

Both listen on a free port of the loopback address and go away with the context.

And a tool without any of them (`tools`):

    outcome = await call_tool(weather, {"city": "Brest"}, clock=FakeClock())
"""

from galerne.bus.server import NatsServer, nats_server
from galerne.models.standin import (
    Fault,
    Ledger,
    LedgerEntry,
    StandIn,
    StandInSettings,
    parse_faults,
    read_ledger,
)
from galerne.testing.tools import (
    FakeClock,
    assert_idempotent,
    call_tool,
    check_tools,
    memory_blobs,
    refusal_of,
    value_of,
)

__all__ = [
    "NatsServer",
    "nats_server",
    "StandIn",
    "StandInSettings",
    "Fault",
    "parse_faults",
    "Ledger",
    "LedgerEntry",
    "read_ledger",
    "call_tool",
    "value_of",
    "refusal_of",
    "assert_idempotent",
    "check_tools",
    "FakeClock",
    "memory_blobs",
]
