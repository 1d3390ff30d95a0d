"""The models that one worker may ask: its own first, then those that a task goes on with.

Whether somebody serves a larger one is looked up when a task is about to go there, because model
servers come and go while a worker runs; one that nobody serves is passed over. Where a server
cannot say, it counts as serving: a call to it is tried again like any other.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from galerne.core.budget import Prices
from galerne.errors import UnavailableError
from galerne.logs import get_logger
from galerne.messages.chat import ChatReply, ChatRequest

log = get_logger("galerne.models.ladder")


class Model(Protocol):
    """What the runtime needs of a model client."""

    async def ask(
        self,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        key: str | None = None,
    ) -> ChatReply: ...


async def always() -> bool:
    return True


class Rung:
    """One model: its name on the ladder, its client, its prices, and whether it is there now."""

    def __init__(
        self,
        name: str,
        model: Model,
        prices: Prices = Prices(),  # noqa: B008 - frozen
        served: Callable[[], Awaitable[bool]] = always,
    ) -> None:
        self.name = name
        self.model = model
        self.prices = prices
        self.served = served


class Ladder:
    """The rungs of a worker, the smallest model first."""

    def __init__(self, own: Rung, above: Sequence[Rung] = ()) -> None:
        self.own = own
        self._rungs = (own, *above)

    def named(self, name: str) -> Rung:
        """Raises UnavailableError where this worker does not have it: another one may."""
        for rung in self._rungs:
            if rung.name == name:
                return rung
        raise UnavailableError(
            f"the task was moved to {name}, which this worker does not have: put it on the ladder"
            " in [models] and start the worker again"
        )

    async def above(self, name: str) -> Rung | None:
        """The next larger one that is served. Raises UnavailableError as `named`."""
        place = self._rungs.index(self.named(name))
        for rung in self._rungs[place + 1 :]:
            if await rung.served():
                return rung
            log.info("a rung is passed over: nobody serves it", model=rung.name)
        return None
