"""An honest stand-in for a model server: it speaks the API, follows rules, and has no LLM."""

from galerne.models.standin.faults import Fault, StandInSettings, parse_faults
from galerne.models.standin.ledger import Ledger, LedgerEntry, read_ledger
from galerne.models.standin.rules import respond
from galerne.models.standin.server import StandIn

__all__ = [
    "StandIn",
    "StandInSettings",
    "Fault",
    "parse_faults",
    "Ledger",
    "LedgerEntry",
    "read_ledger",
    "respond",
]
