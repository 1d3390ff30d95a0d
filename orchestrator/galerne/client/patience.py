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
from galerne.settings import without_login

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
    begun = anyio.current_time()
    pause = _FIRST_PAUSE
    suspected = False
    while True:
        try:
            return await call()
        except BusyError:
            raise
        except TransientError as error:
            waited = anyio.current_time() - begun
            if waited >= PATIENCE and bus.connected:
                raise _silent(bus) from error
            if bus.closed.is_set() or waited >= PATIENCE:
                raise
            lack = await _lack(bus) if waited >= SETUP_PATIENCE else None
            if lack is not None and suspected:  # once may be a server that just comes back
                raise lack from None
            suspected = lack is not None
        await anyio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _silent(bus: Bus) -> UnavailableError:
    """A server that is there and does nothing: most often it cannot write."""
    return UnavailableError(
        f"{shown(bus.settings.server or '')} is there but has answered nothing for"
        f" {PATIENCE:g} s: the disk of its store may be full; look at its log"
    )


async def _lack(bus: Bus) -> UnavailableError | None:
    """What the server lacks for good, as far as it can say."""
    server = shown(bus.settings.server or "")
    try:
        await bus.api(f"STREAM.INFO.{bus.subjects.stream('SUBMIT')}")
    except NotFoundError:
        return UnavailableError(
            f"no fleet was ever started on {server} under the prefix {bus.settings.prefix!r}:"
            f" start one there (`galerne up --server {server}`)"
        )
    except UnavailableError:
        if bus.connected:
            return UnavailableError(
                f"{server} is a NATS server without JetStream: start it with `nats-server -js`"
            )
    except TransientError:
        return None
    return None


def shown(server: str) -> str:
    """`nats://user:secret@host:4222` as `nats://host:4222`; several with commas too."""
    return without_login(server)
