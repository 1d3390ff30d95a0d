"""What a coordinator has in memory of one job, and what it is about to write of it."""

import msgspec

from galerne.core.state import JobState
from galerne.messages.facts import AnyFact
from galerne.messages.subjects import JobAddress


class Draft(msgspec.Struct, frozen=True):
    """A fact to write, and the id under which every try is the same write."""

    fact: AnyFact
    message_id: str


class Known:
    """A job in memory."""

    def __init__(self, address: JobAddress, now: float) -> None:
        self.address = address
        self.state = JobState()
        self.moved = now
        self.rest = 0.0
        """Seconds of idleness after which it is read anew, if more than the sweep's."""
        self.sequence = 0
        self.ticket: str | None = None
