"""Where the workers of a fleet see each other's entries for a model endpoint: a key-value bucket.

An entry is written as `$KV.<bucket>.<endpoint>.<worker>` without waiting for its acknowledgement;
whoever listens to the endpoint hears it in the same moment over core NATS, as the stream does that
keeps it. So who comes late reads the bucket once, and nobody needs a watch, which would be blind
for seconds after a restart of the server. Entries say how long they hold: a dead worker's is not
renewed. After an outage all speak again within a second, and nobody is forgotten before.
"""

import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import msgspec
import nats.errors

from galerne.bus.connection import Bus, Message
from galerne.bus.wire import Headers
from galerne.errors import GalerneError, InvalidMessageError, TransientError
from galerne.logs import get_logger
from galerne.messages.codec import decode_pace, encode
from galerne.messages.pacing import Pace

log = get_logger("galerne.bus.pacing")

Hear = Callable[[str, Pace | None], None]
_GONE = {"KV-Operation": "PURGE", "Nats-Rollup": "sub"}
"""How a key is deleted in NATS's key-value layout."""
_BATCH = 1024
_PATIENCE = 2.0
"""Seconds for the entries that stand there; without them, those of the next second will do."""


class PaceBoard:
    """The bucket, over one connection. `worker` is this process's name."""

    def __init__(self, bus: Bus, worker: str) -> None:
        self._bus = bus
        self._worker = worker
        self._numbers = itertools.count(1)

    @property
    def connected(self) -> bool:
        """Whether entries come and go at the moment."""
        return self._bus.connected

    def new_name(self) -> str:
        """A name for one more pool of this process, fit for a key."""
        return f"{self._worker}-{next(self._numbers)}"

    def say(self, endpoint: str, name: str, pace: Pace | None) -> None:
        """Put an entry there, or take it away (None), without waiting. Raises UnavailableError."""
        subject = self._bus.subjects.pace(endpoint, name)
        if pace is None:
            self._bus.post(subject, b"", headers=dict(_GONE))
        else:
            self._bus.post(subject, encode(pace))

    @asynccontextmanager
    async def watch(self, endpoint: str, hear: Hear) -> AsyncGenerator[None]:
        """Hand each entry of an endpoint to `hear`, those that stand there first.

        Raises TransientError where the bus is away.
        """
        subject = self._bus.subjects.pace(endpoint, "*")

        def take(subject: str, _reply: str, data: bytes, _headers: Headers) -> None:
            _hand_over(subject, data, hear)

        subscription = await self._bus.listen(subject, take)
        try:
            await self._read(subject, hear)
            yield
        finally:
            self._bus.unlisten(subscription)
            with anyio.move_on_after(0.5, shield=True):
                try:
                    await subscription.unsubscribe()
                except (nats.errors.Error, OSError) as error:
                    log.debug("the connection is closed", reason=str(error))

    async def _read(self, subject: str, hear: Hear) -> None:
        """What stands there now, as far as it comes in time."""
        stream = f"KV_{self._bus.subjects.pace_bucket}"
        send, receive = anyio.create_memory_object_stream[Message | GalerneError](_BATCH + 8)
        reply = self._bus.expect(send.send_nowait, send.send_nowait, _PATIENCE)
        body = msgspec.json.encode({"batch": _BATCH, "seq": 1, "next_by_subj": subject})
        try:
            with send, receive:
                await self._bus.send(f"$JS.API.DIRECT.GET.{stream}", body, reply=reply)
                async for message in receive:
                    if not isinstance(message, Message):
                        raise message
                    if "Nats-Subject" not in message.headers:
                        return
                    _hand_over(message.headers["Nats-Subject"], message.data, hear)
        except TransientError as error:
            log.debug("the entries of the others are not known yet", reason=str(error))
        finally:
            self._bus.forget(reply)


def _hand_over(subject: str, data: bytes, hear: Hear) -> None:
    """An entry that cannot be read is as if it were not there."""
    name = subject.rpartition(".")[2]
    if not data:
        hear(name, None)
        return
    try:
        pace = decode_pace(data)
    except InvalidMessageError as error:
        log.debug("an entry cannot be read", worker=name[:100], reason=str(error))
        return
    hear(name, pace)
