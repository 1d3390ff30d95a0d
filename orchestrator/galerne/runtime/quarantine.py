"""Messages that nobody can use: kept whole, with the reason, out of everybody's way."""

from collections.abc import Callable

from galerne.bus.connection import Bus
from galerne.errors import GalerneError, TransientError
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.codec import encode
from galerne.messages.live import Quarantined

log = get_logger("galerne.runtime.quarantine")

LONGEST_ERROR = 1000
"""Characters: an error may quote the message that it is about."""
ENVELOPE = 32 * 1024
"""Bytes of a record without its data: subject and error, each character escaped at worst."""


class Quarantine:
    """Puts messages into the QUARANTINE stream."""

    def __init__(self, bus: Bus, me: str, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._me = me
        self._clock = clock

    async def put(self, subject: str, data: bytes, error: str) -> None:
        """Keep a message. Raises TransientError where it cannot be: keep the original then.

        What is too large to be kept whole is cut, and `error` says so.
        """
        room = (self._bus.largest - ENVELOPE) * 3 // 4  # base64 makes four bytes of three
        if len(data) > room:
            error = f"{error[:LONGEST_ERROR]} (the first {room} of {len(data)} bytes are kept)"
        record = Quarantined(
            subject=subject,
            error=error[: 2 * LONGEST_ERROR],
            data=data[:room],
            by=self._me,
            at=self._clock(),
        )
        origin = subject.removeprefix(f"{self._bus.subjects.prefix}.").split(".")[0]
        reach("quarantine.before")
        try:
            await self._bus.publish(self._bus.subjects.quarantine(origin), encode(record))
        except GalerneError as problem:
            log.error(  # noqa: TRY400 - the sentence says it all
                "a message could not be quarantined", subject=subject[:200], error=str(problem)
            )
            raise TransientError(f"not quarantined: {problem}") from problem
        reach("quarantine.after")
        log.warning("a message was quarantined", subject=subject[:200], error=error[:300])
