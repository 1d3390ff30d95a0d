"""How long a client goes on asking while the server is away.

Everything that a client asks may be asked again: reads change nothing, and what it publishes
carries an id that makes a repetition the same message. So a restart of the server shows as a
delay, not as an error, as long as it is over within `PATIENCE`.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from galerne.bus.connection import Bus
from galerne.errors import BusyError, NotFoundError, TransientError, UnavailableError

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds that a call may take through a lost connection; a server restart takes a few."""
SETUP_PATIENCE = 3.0
"""Seconds for the streams to appear: a fleet that is just starting makes them at once."""
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0


async def patiently(bus: Bus, call: Callable[[], Awaitable[T]]) -> T:
    """Call until it succeeds or fails for good.

    Raises what `call` raises where another try is of no use, UnavailableError where the server
    has no streams of a fleet or stays away.
    """
    give_up = anyio.current_time() + PATIENCE
    no_streams_after = anyio.current_time() + SETUP_PATIENCE
    pause = _FIRST_PAUSE
    while True:
        try:
            return await call()
        except BusyError:
            raise
        except TransientError:
            now = anyio.current_time()
            if bus.closed.is_set() or now >= give_up:
                raise
            if now >= no_streams_after and not await _has_streams(bus):
                raise no_fleet(bus) from None
        await anyio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def no_fleet(bus: Bus) -> UnavailableError:
    return UnavailableError(
        f"no fleet was ever started on {bus.settings.server} under the prefix"
        f" {bus.settings.prefix!r}: start one there (`galerne up --server …`)"
    )


async def _has_streams(bus: Bus) -> bool:
    """Whether the streams exist; True too where the server cannot say."""
    try:
        await bus.api(f"STREAM.INFO.{bus.subjects.stream('SUBMIT')}")
    except NotFoundError:
        return False
    except TransientError:
        return True
    return True
