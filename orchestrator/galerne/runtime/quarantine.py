"""Messages that nobody can use: kept whole, with the reason, out of everybody's way."""

from collections.abc import Callable

import structlog

from galerne.bus.connection import Bus
from galerne.errors import GalerneError
from galerne.messages.codec import encode
from galerne.messages.live import Quarantined

log = structlog.stdlib.get_logger("galerne.runtime.quarantine")


class Quarantine:
    """Puts messages into the QUARANTINE stream."""

    def __init__(self, bus: Bus, me: str, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._me = me
        self._clock = clock

    async def put(self, subject: str, data: bytes, error: str) -> None:
        """Keep a message. Raises TransientError while the server is away: keep the original."""
        record = Quarantined(subject=subject, error=error, data=data, by=self._me, at=self._clock())
        origin = subject.removeprefix(f"{self._bus.subjects.prefix}.").split(".")[0]
        try:
            await self._bus.publish(self._bus.subjects.quarantine(origin), encode(record))
        except GalerneError as problem:
            log.error(  # noqa: TRY400 - the sentence says it all
                "a message could not be quarantined", subject=subject, error=str(problem)
            )
            raise
        log.warning("a message was quarantined", subject=subject[:200], error=error[:300])
