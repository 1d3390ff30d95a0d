"""A consumer that is always pulling.

One pull request stands at the server; every message goes to a callback in the reader, and when half
of the window is used up the next request goes out. nats-py never pulls again by itself, so this
does: when the connection is back, when a pull ends (404, 408, 409), and when two idle heartbeats
have been missed. Each pull has its own reply subject, so a late status of an old pull is told
from a new one's.
"""

import contextlib
import itertools
from collections.abc import Callable

import anyio
import msgspec

from galerne.bus.connection import Bus
from galerne.bus.wire import Headers, headers_of
from galerne.errors import TransientError
from galerne.faults import reach
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
QUEUES = {"admit": "submit", "commands": "command", "part": "part"}
"""How the names of consumers begin (`topology`) → what their messages are; else a lane's."""
HAND_OVER = 2.0
"""Seconds that a stopped pull waits for what the server has already sent, at most."""
QUIET = 0.1
"""Seconds without a message after which nothing is taken to be on its way."""


class Delivery:
    """A message of a queue, to be acknowledged once its outcome is committed.

    What is said of it leaves without waiting; one that gets lost makes the message come again.
    """

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

    def __init__(self, bus: Bus, subject: str, reply: str, data: bytes) -> None:
        self._bus = bus
        self.subject = subject
        self.data = data
        self.reply = reply
        # $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<sequence>
        #   .<consumer sequence>.<ns>.<pending>[.<random>]
        tokens = reply.split(".")
        tail = tokens[4:9] if len(tokens) == SHORT_ACK else tokens[6:11]
        self.delivered = int(tail[0])
        self.sequence = int(tail[1])
        self.consumer_sequence = int(tail[2])
        self.at = int(tail[3]) / 1e9

    def ack(self) -> None:
        reach("ack.*.before", self._queue)
        self._answer(b"+ACK")
        reach("ack.*.after", self._queue)

    def retry(self, delay: float = 0.0) -> None:
        """Give it back, to come again after `delay` seconds, at most an hour."""
        delay = min(delay, LONGEST_DELAY)
        body = b'-NAK {"delay": %d}' % int(delay * 1e9) if delay > 0 else b"-NAK"
        reach("retry.*.before", self._queue)
        self._answer(body)
        reach("retry.*.after", self._queue)

    def keep(self) -> None:
        """Say that it is being worked on, which restarts the consumer's `ack_wait`."""
        self._answer(b"+WPI")

    def discard(self, reason: str) -> None:
        """Never deliver it again; the reason shows in the server's advisory."""
        reach("discard.*.before", self._queue)
        self._answer(b"+TERM " + " ".join(reason.split())[:200].encode())
        reach("discard.*.after", self._queue)

    def _queue(self) -> str:
        """What kind of message it is: `submit`, `command`, `part` of the log, or `lane`."""
        tokens = self.reply.split(".")
        consumer = tokens[3] if len(tokens) == SHORT_ACK else tokens[5]
        return QUEUES.get(consumer.partition("-")[0], "lane")

    def _answer(self, body: bytes) -> None:
        try:
            self._bus.post(self.reply, body)
        except TransientError as error:  # it will come again, and its fact will be found
            log.debug("an acknowledgement was lost", subject=self.subject, error=str(error))


class StandingPull:
    """Pulls from one durable consumer, never more than `window` unanswered messages at a time.

    `callback` is called in the order of delivery and in the connection's reader. With `manual` the
    window opens only by `release()`, one place for each message that is done with; without, a
    place is free again as soon as the callback returns.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        consumer: str,
        window: int,
        callback: Callable[[Delivery], None],
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
        self._coming = 0
        """The sum of these."""
        self._wake = anyio.Event()
        self._heard = 0.0
        self._pause = 0.0
        self._pulling = False
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
        self._fill()

    def resize(self, window: int) -> None:
        """From now on no more than `window` unanswered messages; what is more still comes."""
        self._window = window

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
        subscription = await self._bus.listen(f"{self._inbox}.*", self._on_message)
        try:
            self._pulling = True
            while not self._stopped:
                self._wake = anyio.Event()
                self._drop_silent()
                if self._pause > 0:
                    await anyio.sleep(self._pause)
                    self._pause = 0.0
                self._fill()
                with anyio.move_on_after(HEARTBEAT):
                    await self._wake.wait()
            with anyio.move_on_after(HAND_OVER), contextlib.suppress(Exception):
                await self._quiet()
                await subscription.drain()  # type: ignore[no-untyped-call]
        finally:
            self._pulling = False
            self._bus.off_reconnect(self._renew)
            self._bus.unlisten(subscription)
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

    def _fill(self) -> None:
        """Ask for what the window has room for, once that is half of it."""
        wanted = self._window - self._held - self._coming
        if wanted <= 0 or (self._pulls and wanted * 2 < self._window):
            return
        if self._pause > 0 or self._stopped or not self._pulling:
            return  # `run` asks, or nobody any more
        body = {
            "batch": wanted,
            "expires": int(EXPIRES * 1e9),
            "idle_heartbeat": int(HEARTBEAT * 1e9),
        }
        reply = f"{self._inbox}.{next(self._numbers)}"
        self._heard = self._bus.now()
        try:
            self._bus.post(self._subject, msgspec.json.encode(body), reply=reply)
        except TransientError as error:
            log.debug("a pull could not be sent", error=str(error))
            self._rest(0.2)
        else:
            self._pulls[reply] = wanted
            self._coming += wanted

    def _rest(self, seconds: float) -> None:
        """Ask again after a while."""
        self._pause = seconds
        self._wake.set()

    def _on_message(self, subject: str, reply: str, data: bytes, headers: Headers) -> None:
        self._heard = self._bus.now()
        if reply.startswith("$JS.ACK."):
            self._on_delivery(Delivery(self._bus, subject, reply, data))
            return
        said = headers_of(headers)
        status = said.get("Status", "")
        self._note_absence(absent=status == "503")
        if status == "100":
            return
        if status not in {"404", "408"}:
            why = said.get("Description", "")
            log.debug("a pull ended", status=status, why=why)
            if "Shutdown" not in why:
                self._rest(0.1)
        self._coming -= self._pulls.pop(subject, 0)
        self._fill()

    def _on_delivery(self, delivery: Delivery) -> None:
        """A message's subject is its own, so it counts for the oldest pull that stands."""
        self._absent_since, self._warned = None, False
        oldest = next(iter(self._pulls), None)
        if oldest is not None:
            self._coming -= 1
            self._pulls[oldest] -= 1
            if self._pulls[oldest] <= 0:
                del self._pulls[oldest]
        self._delivered += 1
        if self._manual:
            self._held += 1
        try:
            self._callback(delivery)
        finally:
            self._fill()

    def _note_absence(self, *, absent: bool) -> None:
        """Say once that the consumer is missing; a process that starts makes it anew."""
        now = self._bus.now()
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

    def _drop_silent(self) -> None:
        """Forget pulls that the server does not know any more: no heartbeat came."""
        if self._pulls and self._bus.now() - self._heard > 2.5 * HEARTBEAT:
            log.debug("a pull fell silent and is renewed", subject=self._subject)
            self._renew()

    def _renew(self) -> None:
        self._pulls.clear()
        self._coming = 0
        self._heard = self._bus.now()
        self._wake.set()
