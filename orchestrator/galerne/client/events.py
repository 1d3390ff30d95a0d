"""A job's facts as they happen.

    new ──▶ reading ◀──▶ listening ──▶ over
             │  the log from the last sequence on: the only source of facts
             └─ live messages only say *when* to read again, and bring what a model is saying

The log is the truth and live is for speed: core NATS may lose messages, and a gap between two
live facts of one job cannot be seen in their numbers. So a live fact is a wake, a burst of them
is one read, and after a second of silence or a reconnect the log is read anyway.
"""

import contextlib
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self

import anyio
import msgspec

from galerne.bus.connection import Bus, Message
from galerne.bus.log import FactLog, Record
from galerne.core.unreadable import meaning
from galerne.errors import InvalidMessageError, TransientError, UnavailableError
from galerne.logs import get_logger
from galerne.messages.codec import decode_live
from galerne.messages.facts import AnyFact, Ended
from galerne.messages.live import Live
from galerne.messages.subjects import JobAddress

log = get_logger("galerne.client")

SILENCE = 1.0
"""Seconds without a live message after which the log is read anyway."""
STALE = 0.05
"""Seconds until the next read where the log lacked a fact that was already seen live."""
_RETRY = 0.2
_UNREAD = 10_000
"""Live messages that are kept for a slow reader; the oldest go first."""


class JobEvent(msgspec.Struct, frozen=True):
    """A fact of the log, a piece of text that a model has just said, or how far a tool is.

    `sequence` is the fact's place in the log (else: of the last fact before it), `at` Unix seconds,
    `name` the end of its subject, such as `done.2`.
    """

    sequence: int
    at: float
    name: str
    fact: AnyFact | Live


class _Inbox:
    """What the live subscription has brought. Outlives its reader by one message at most."""

    def __init__(self, kinds: frozenset[str]) -> None:
        """`kinds` of live messages that are no facts, and wanted: `delta`, `progress`."""
        self.newest = 0
        self.live: deque[tuple[float, str, Live]] = deque(maxlen=_UNREAD)
        self._kinds = kinds
        self._heard = anyio.Event()

    def wake(self) -> None:
        self._heard.set()

    async def listen(self, seconds: float) -> None:
        """Wait for a wake, `seconds` at most. A wake that came before counts."""
        with anyio.move_on_after(seconds):
            await self._heard.wait()
        self._heard = anyio.Event()

    def take(self, message: Message) -> None:
        sequence = message.headers.get("Nats-Sequence")
        if sequence is None:
            self._take_live(message)
        elif sequence.isdecimal():
            self.newest = max(self.newest, int(sequence))
            self.wake()

    def _take_live(self, message: Message) -> None:
        kind, task = message.subject.split(".")[-2:]
        if kind not in self._kinds:
            return
        try:
            said = decode_live(message.data)
        except InvalidMessageError as error:
            log.warning("a live message is skipped", subject=message.subject, error=str(error))
            return
        self.live.append((time.time(), f"{kind}.{task}", said))
        self.wake()


class JobEvents:
    """Iterates over a job's facts in log order, each exactly once, until `Ended`.

    A wait for the next event may be cancelled and taken up again: nothing is lost. It may be
    abandoned at any time; `aclose` frees its subscription at once. For one reader at a time.
    """

    def __init__(
        self,
        bus: Bus,
        address: JobAddress,
        *,
        rest: str = ">",
        after: int = 0,
        deltas: bool = False,
        progress: bool = False,
        check: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`rest` narrows to some facts; `deltas` and `progress` add what is only live; `check` is
        called where the log has nothing at first.
        """
        self._bus = bus
        self._address = address
        self._rest = rest
        self._last = after
        self._check = check
        self._log = FactLog(bus)
        wanted = {"delta": deltas, "progress": progress}
        self._inbox = _Inbox(frozenset(kind for kind, want in wanted.items() if want))
        self._ready: deque[JobEvent] = deque()
        self._over = False
        self._unsubscribe: Callable[[], Awaitable[None]] | None = None
        self._caught_up = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JobEvent:
        """Raises NotFoundError for an unknown job, UnavailableError on a closed connection."""
        while not self._ready:
            if self._over:
                await self.aclose()
                raise StopAsyncIteration
            await self._fetch()
        return self._ready.popleft()

    @property
    def pending(self) -> int:
        """How many events are there without waiting."""
        return len(self._ready)

    async def aclose(self) -> None:
        """Stop listening. The iteration is over after what was already fetched."""
        self._over = True
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            with anyio.CancelScope(shield=True):
                await unsubscribe()

    async def _fetch(self) -> None:
        """Wait for news, unless nothing was read yet, and put it into `_ready`."""
        if self._unsubscribe is None:
            await self._subscribe()
        if self._caught_up:
            stale = self._inbox.newest > self._last
            await self._inbox.listen(STALE if stale else SILENCE)
        self._take_live()
        try:
            records = await self._read()
            if not self._caught_up and not records:
                await self._first_was_empty()
        except TransientError as error:
            if self._bus.closed.is_set():
                raise UnavailableError("the connection to the NATS server is closed") from error
            log.debug("the log is read again", job=self._address.job, error=str(error))
            await anyio.sleep(_RETRY)
            return
        self._caught_up = True
        for record in records:
            self._take_record(record)

    async def _read(self) -> list[Record]:
        subject = self._bus.subjects.job(self._address, self._rest)
        return await self._log.read(subject, self._last)

    async def _first_was_empty(self) -> None:
        """Tell a job that has ended before `after`, or never was, from one that is quiet."""
        if self._last > 0:
            end = await self._log.last(self._address, "end")
            self._over = end is not None
        elif self._check is not None:
            await self._check()

    def _take_record(self, record: Record) -> None:
        if self._over:
            return
        self._last = record.sequence
        fact = readable(record)
        if fact is None:
            log.warning("a fact is skipped", job=self._address.job, error=record.error)
            return
        self._ready.append(JobEvent(record.sequence, record.at, record.name, fact))
        self._over = isinstance(fact, Ended)

    def _take_live(self) -> None:
        while self._inbox.live:
            at, name, said = self._inbox.live.popleft()
            self._ready.append(JobEvent(self._last, at, name, said))

    async def _subscribe(self) -> None:
        tenant, job = self._address.tenant, self._address.job
        with anyio.CancelScope(shield=True):  # it only writes to a buffer, and must not be halved
            self._unsubscribe = await _listen(
                self._bus, self._bus.subjects.live(tenant, job, self._rest), self._inbox, self
            )


def readable(record: Record) -> AnyFact | None:
    """The fact, or what an unreadable one means; None where it means nothing to anybody."""
    if record.fact is not None:
        return record.fact
    return meaning(record.name, record.error or "", record.at)


async def _listen(
    bus: Bus, subject: str, inbox: _Inbox, reader: JobEvents
) -> Callable[[], Awaitable[None]]:
    """Feed `inbox` until the returned function is called, or `reader` exists no more."""
    reading = weakref.ref(reader)
    del reader

    async def on_message(message: Message) -> None:
        if reading() is None:
            await unsubscribe()
        else:
            inbox.take(message)

    async def unsubscribe() -> None:
        bus.off_reconnect(inbox.wake)
        with contextlib.suppress(Exception):  # a closed connection has no subscriptions
            await subscription.unsubscribe()

    subscription = await bus.subscribe(subject, on_message)
    bus.on_reconnect(inbox.wake)
    return unsubscribe
