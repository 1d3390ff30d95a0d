"""A consumer that is always pulling.

One pull request stands at the server; every message goes to a synchronous callback, and when half
of the window is used up the next request goes out. nats-py never pulls again by itself, so this
does: when the connection is back, when a pull ends (404, 408, 409), and when two idle heartbeats
have been missed. Each pull has its own reply subject, so a late status of an old pull is told
from a new one's.
"""

import contextlib
import itertools
from collections.abc import Awaitable, Callable

import anyio
import msgspec

from galerne.bus.connection import Bus, Message
from galerne.errors import TransientError
from galerne.logs import get_logger

log = get_logger("galerne.bus.queue")

EXPIRES = 30.0
"""Seconds that a pull stands before the server ends it (408) and it is renewed."""
SHORT_ACK = 9
"""Tokens of an acknowledgement subject without domain and account."""
HEARTBEAT = 1.0
"""Seconds between idle heartbeats of a pull; two missed ones and it is renewed."""
LONGEST_DELAY = 3600.0
"""Seconds: whoever asks for more has read nonsense."""
ABSENT = 3.0
"""Seconds without the consumer after which it is worth a warning: a restart takes less."""
HAND_OVER = 2.0
"""Seconds that a stopped pull waits for what the server has already sent, at most."""
QUIET = 0.1
"""Seconds without a message after which nothing is taken to be on its way."""


class Delivery:
    """A message of a queue, to be acknowledged once its outcome is committed."""

    __slots__ = (
        "_bus",
        "at",
        "consumer_sequence",
        "data",
        "delivered",
        "reply",
        "sequence",
        "subject",
    )

    def __init__(self, bus: Bus, message: Message) -> None:
        self._bus = bus
        self.subject = message.subject
        self.data = message.data
        self.reply = message.reply
        # $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<sequence>
        #   .<consumer sequence>.<ns>.<pending>[.<random>]
        tokens = message.reply.split(".")
        tail = tokens[4:9] if len(tokens) == SHORT_ACK else tokens[6:11]
        self.delivered = int(tail[0])
        self.sequence = int(tail[1])
        self.consumer_sequence = int(tail[2])
        self.at = int(tail[3]) / 1e9

    async def ack(self) -> None:
        await self._answer(b"+ACK")

    async def retry(self, delay: float = 0.0) -> None:
        """Give it back, to come again after `delay` seconds, at most an hour."""
        delay = min(delay, LONGEST_DELAY)
        body = b'-NAK {"delay": %d}' % int(delay * 1e9) if delay > 0 else b"-NAK"
        await self._answer(body)

    async def keep(self) -> None:
        """Say that it is being worked on, which restarts the consumer's `ack_wait`."""
        await self._answer(b"+WPI")

    async def discard(self, reason: str) -> None:
        """Never deliver it again; the reason shows in the server's advisory."""
        await self._answer(b"+TERM " + " ".join(reason.split())[:200].encode())

    async def _answer(self, body: bytes) -> None:
        try:
            await self._bus.send(self.reply, body)
        except TransientError as error:  # it will come again, and its fact will be found
            log.debug("an acknowledgement was lost", subject=self.subject, error=str(error))


class StandingPull:
    """Pulls from one durable consumer, never more than `window` unanswered messages at a time.

    `callback` is called in the order of delivery and must not wait for long. With `manual` the
    window opens only by `release()`, one place for each message that is done with; without, a
    place is free again as soon as the callback returns.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        consumer: str,
        window: int,
        callback: Callable[[Delivery], Awaitable[None]],
        *,
        manual: bool = False,
    ) -> None:
        self._bus = bus
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._window = window
        self._callback = callback
        self._manual = manual
        self._held = 0
        self._pulls: dict[str, int] = {}
        """Reply subject of a pull → messages it may still bring."""
        self._wake = anyio.Event()
        self._heard = 0.0
        self._pause = 0.0
        self._stopped = False
        self._delivered = 0
        self.ended = anyio.Event()
        self._absent_since: float | None = None
        self._warned = False
        self._inbox = bus.new_inbox()
        self._numbers = itertools.count(1)

    def release(self) -> None:
        """One message is done with."""
        self._held -= 1
        self._wake.set()

    def stop(self) -> None:
        """Ask for nothing more. What is on its way still comes to the callback."""
        self._stopped = True
        self._wake.set()

    @property
    def held(self) -> int:
        return self._held

    async def run(self) -> None:
        """Pull until cancelled or stopped."""
        self._bus.on_reconnect(self._renew)
        subscription = await self._bus.subscribe(f"{self._inbox}.*", self._on_message)
        try:
            while not self._stopped:
                self._wake = anyio.Event()
                self._drop_silent()
                await self._fill()
                with anyio.move_on_after(HEARTBEAT):
                    await self._wake.wait()
            with anyio.move_on_after(HAND_OVER), contextlib.suppress(Exception):
                await self._quiet()
                await subscription.drain()  # type: ignore[no-untyped-call]
        finally:
            self._bus.off_reconnect(self._renew)
            with anyio.CancelScope(shield=True), contextlib.suppress(Exception):
                await subscription.unsubscribe()
            self.ended.set()

    async def _quiet(self) -> None:
        """Until nothing seems to be on its way: a farewell in between would lose it for a while."""
        while self._pulls:
            before = self._delivered
            await anyio.sleep(QUIET)
            if self._delivered == before:
                return

    async def _fill(self) -> None:
        """Ask for what the window has room for."""
        if self._pause > 0:
            pause, self._pause = self._pause, 0.0
            await anyio.sleep(pause)
        wanted = self._window - self._held - sum(self._pulls.values())
        if wanted <= 0 or (self._pulls and wanted * 2 < self._window):
            return
        body = {
            "batch": wanted,
            "expires": int(EXPIRES * 1e9),
            "idle_heartbeat": int(HEARTBEAT * 1e9),
        }
        reply = f"{self._inbox}.{next(self._numbers)}"
        self._pulls[reply] = wanted
        self._heard = anyio.current_time()
        try:
            await self._bus.send(self._subject, msgspec.json.encode(body), reply=reply)
        except TransientError as error:
            log.debug("a pull could not be sent", error=str(error))
            self._end_pull(reply)
            self._pause = 0.2

    async def _on_message(self, message: Message) -> None:
        self._heard = anyio.current_time()
        if message.reply.startswith("$JS.ACK."):
            await self._on_delivery(message)
            return
        status = message.headers.get("Status", "")
        self._note_absence(absent=status == "503")
        if status == "100":
            return
        if status not in {"404", "408"}:
            why = message.headers.get("Description", "")
            log.debug("a pull ended", status=status, why=why)
            self._pause = 0.0 if "Shutdown" in why else 0.1
        self._end_pull(message.subject)

    async def _on_delivery(self, message: Message) -> None:
        """A message's subject is its own, so it counts for the oldest pull that stands."""
        delivery = Delivery(self._bus, message)
        self._note_absence(absent=False)
        oldest = next(iter(self._pulls), None)
        if oldest is not None:
            self._pulls[oldest] -= 1
            if self._pulls[oldest] <= 0:
                del self._pulls[oldest]
        self._delivered += 1
        if self._manual:
            self._held += 1
        try:
            await self._callback(delivery)
        finally:
            if sum(self._pulls.values()) * 2 <= self._window:
                self._wake.set()

    def _note_absence(self, *, absent: bool) -> None:
        """Say once that the consumer is missing; a process that starts makes it anew."""
        now = anyio.current_time()
        if not absent:
            self._absent_since, self._warned = None, False
            return
        self._absent_since = self._absent_since or now
        if not self._warned and now - self._absent_since > ABSENT:
            self._warned = True
            log.warning(
                "the queue has no consumer: start any worker again to make it",
                consumer=self._subject.removeprefix("$JS.API.CONSUMER.MSG.NEXT."),
            )

    def _end_pull(self, reply: str) -> None:
        self._pulls.pop(reply, None)
        self._wake.set()

    def _drop_silent(self) -> None:
        """Forget pulls that the server does not know any more: no heartbeat came."""
        if self._pulls and anyio.current_time() - self._heard > 2.5 * HEARTBEAT:
            log.debug("a pull fell silent and is renewed", subject=self._subject)
            self._renew()

    def _renew(self) -> None:
        self._pulls.clear()
        self._heard = anyio.current_time()
        self._wake.set()
