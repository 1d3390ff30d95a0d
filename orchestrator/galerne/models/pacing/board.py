"""What a pool of endpoints needs of the bus: a place where workers see each other's entries."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from galerne.messages.pacing import Pace

Hear = Callable[[str, Pace | None], None]
"""Takes a worker's name and its entry; None: it has left. It must not wait."""


class Board(Protocol):
    """Entries by endpoint and worker, seen by all at once, kept for those who come later."""

    @property
    def connected(self) -> bool:
        """Whether entries come and go at the moment."""
        ...

    def new_name(self) -> str:
        """A name for one more pool of this process, fit for a key."""
        ...

    def watch(self, endpoint: str, hear: Hear) -> AbstractAsyncContextManager[None]:
        """Hear every entry of an endpoint, those that stand there first. Raises TransientError."""
        ...

    def say(self, endpoint: str, name: str, pace: Pace | None) -> None:
        """Put an entry there, or take it away, without waiting. Raises GalerneError."""
        ...
