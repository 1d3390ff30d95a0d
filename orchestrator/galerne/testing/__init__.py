"""What tests of your own need: a real NATS server and the honest stand-in for a model server.

    async with nats_server() as server, StandIn(StandInSettings()) as models:
        settings = Settings(bus=BusSettings(server=server.url), …)

Both listen on a free port of the loopback address and go away with the context.
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
]
