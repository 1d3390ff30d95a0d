"""Calling a tool over the bus, from an executor.

    send ─▶ busy: wait a little, send again          ─▶ nobody serves it: wait, then transient
         ─▶ working (repeated): go on waiting        ─▶ silence of three heartbeats: send again
         ─▶ pending until t: send again then         ─▶ result or error: done

Sending the same key again is always safe: the worker's journal answers it. Time that a call spends
behind the claim of a worker which may be dead, or with one that died at it, is not taken from the
tool: who performs it after that has as long as the first had. A call at which one worker after the
other dies is not given to all of them.

Replies come to a subject of this one try, so what is late, or meant for another call, meets nobody;
of two outcomes the first counts.
"""

import random
from collections import deque
from collections.abc import Callable

import anyio
import anyio.lowlevel
import msgspec

from galerne.bus.connection import Bus, Message
from galerne.core.refusals import bounded, sentence
from galerne.errors import (
    DeadlineError,
    GalerneError,
    InvalidMessageError,
    TransientError,
    UnavailableError,
)
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.codec import decode_tool_reply, encode
from galerne.messages.tools import (
    Busy,
    CallTool,
    NeedsApproval,
    Pending,
    ToolOutcome,
    ToolRefused,
    ToolReply,
    ToolResult,
    Working,
)
from galerne.runtime.tool_directory import nobody_serves

log = get_logger("galerne.runtime.tools")

UNSERVED = 5.0
"""Seconds that a call waits for a worker of its tool before the task is given back."""
PENDING = 1.0
"""Seconds until a key that another worker holds is asked for again."""
LONGEST_CLAIM = 120.0
"""Seconds that a call waits behind others' claims at most: a sane one ends long before."""
BUSY = 1.0
"""Seconds at most until a call is offered again to workers that are all at their limit."""
REPLIES = 64
"""Replies of one try that wait to be read; heartbeats beyond that are dropped."""
GRACE = 5.0
"""Seconds after the tool's own deadline for its error to arrive."""
DEATHS = 3
"""Workers that fall silent at one call, one after the other, before it is given up: the call may
be what kills them."""

_UNREADABLE = "unknown"
"""Who has sent what nobody can read: a sign of life, and no more."""

Watch = Callable[[Working | Pending | Busy], None]
"""Called again and again while a call is not over; must neither wait nor raise."""


class _Under:
    """What has become of one call so far. `allowed` is in seconds: how long its tool may take."""

    def __init__(self, call: CallTool, now: float) -> None:
        self.call = call
        self.begun = now
        self.allowed = call.deadline - now
        self.unserved_since: float | None = None
        self.refusals = 0
        """How often in a row nobody had room for it."""
        self.dead: set[str] = set()
        self.at_it: str | None = None
        """The worker that was heard last in this try."""
        self.unreadable: str = ""
        """Why nobody could read what a worker has sent, if one has."""

    def heard(self, working: Working) -> None:
        """Somebody is at it."""
        self.unserved_since = None
        self.refusals = 0
        self.at_it = working.by

    def babbled(self, error: InvalidMessageError) -> None:
        """Somebody answers what nobody can read; the log hears of it once a call."""
        tool = self.call.tool
        if not self.unreadable:
            log.warning("a tool worker's reply is unreadable", tool=tool, why=sentence(str(error)))
        self.unreadable = sentence(str(error))

    def late(self) -> DeadlineError:
        """The error of a call whose time is over."""
        said = f"tool {self.call.tool} gave no answer in time"
        return DeadlineError(
            f"{said}: what its worker sent cannot be read ({self.unreadable}); mend the worker"
            if self.unreadable
            else said
        )

    def pause(self) -> float:
        """Seconds until it is offered again: soon at first, less and less often, spread."""
        self.refusals += 1
        most = min(0.1 * 2.0 ** min(self.refusals // 4, 8), BUSY)
        return most * random.uniform(0.2, 1.0)  # noqa: S311 - spreads retries

    def last_until(self, at: float) -> None:
        """Whoever performs it may begin as late as `at`."""
        deadline = max(self.call.deadline, at + self.allowed)
        self.call = msgspec.structs.replace(self.call, deadline=deadline)

    def fell_silent(self, now: float) -> ToolRefused | None:
        """A try ended in silence; the refusal where that was once too often."""
        if self.at_it is None or self.at_it in self.dead:  # the same again lives after all
            return None
        self.dead.add(self.at_it)
        if len(self.dead) >= DEATHS:
            return ToolRefused(
                code="tool_died",
                message=f"{len(self.dead)} workers fell silent at this call of"
                f" {self.call.tool}, one after the other; change its arguments, or do without it",
            )
        self.last_until(now)
        return None


class ToolCaller:
    """Sends calls and waits for their outcomes. `heartbeat` is the workers', in seconds."""

    def __init__(self, bus: Bus, heartbeat: float, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._silence = heartbeat * 3.2
        self._clock = clock

    async def call(
        self, call: CallTool, route: str = "", watch: Watch | None = None
    ) -> ToolOutcome | NeedsApproval:
        """The tool's answer. `route` is the version that is meant (empty: any).

        Raises UnavailableError (nobody serves it) and DeadlineError.
        """
        under = _Under(call, self._clock())
        subject = self._bus.subjects.tool(call.tool, route)
        while True:
            left = under.call.deadline + GRACE - self._clock()
            if left <= 0:
                raise under.late()
            under.at_it = None
            reply: ToolReply
            try:
                reply = await self._one_try(under, subject, left, watch)
            except UnavailableError:
                under.unserved_since = under.unserved_since or anyio.current_time()
                if anyio.current_time() - under.unserved_since > UNSERVED:
                    raise
                reply = Busy()
            except TransientError:  # silence: send the same key again
                given_up = under.fell_silent(self._clock()) if self._bus.connected else None
                if given_up is not None:
                    return given_up
                continue
            match reply:
                case ToolResult() | ToolRefused() | NeedsApproval():
                    return bounded(reply)
                case Pending(until=until):  # at most: its result may be there much sooner
                    _tell(watch, reply)
                    under.last_until(min(until, under.begun + LONGEST_CLAIM))
                    rest = until - self._clock()
                    await anyio.sleep(min(max(rest, 0.05), PENDING, left))
                case _:
                    _tell(watch, Busy())
                    await anyio.sleep(under.pause())

    async def _one_try(
        self, under: _Under, subject: str, left: float, watch: Watch | None
    ) -> ToolReply:
        """Send once; the first reply that is not a heartbeat. Raises TransientError."""
        inbox = _Inbox()
        reply_to = self._bus.expect(inbox.take, inbox.take, self._silence)
        try:
            reach("tool.sent.before")
            await self._bus.send(subject, encode(under.call), reply=reply_to)
            reach("tool.sent.after")
            over = self._bus.now() + left + 1
            while True:
                reply = _read(await inbox.next(), under)
                if not isinstance(reply, Working):
                    return reply
                rest = over - self._bus.now()
                if rest <= 0:
                    raise under.late()
                self._bus.extend(reply_to, min(self._silence, rest))
                if reply.by != _UNREADABLE:
                    under.heard(reply)
                    _tell(watch, reply)
        finally:
            self._bus.forget(reply_to)


class _Inbox:
    """The replies of one try; the last one may be that none came for too long."""

    __slots__ = ("_news", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Message | GalerneError] = deque()
        self._news = anyio.Event()

    def take(self, message: Message | GalerneError) -> None:
        if len(self._waiting) < REPLIES:  # a babbling worker must not pile up
            self._waiting.append(message)
            self._news.set()

    async def next(self) -> Message | GalerneError:
        if self._waiting:
            await anyio.lowlevel.checkpoint()  # whoever babbles must not keep others from running
        else:
            self._news = anyio.Event()
            await self._news.wait()
        return self._waiting.popleft()


def _read(message: Message | GalerneError, under: _Under) -> ToolReply:
    """Raises UnavailableError, and DeadlineError where there was none."""
    tool = under.call.tool
    if not isinstance(message, Message):
        raise DeadlineError(f"tool {tool} fell silent: {message}") from message
    try:
        return decode_tool_reply(message.data)
    except InvalidMessageError as error:
        if message.headers.get("Status") == "503":
            raise UnavailableError(nobody_serves(tool)) from None
        under.babbled(error)
        return Working(by=_UNREADABLE)


def _tell(watch: Watch | None, reply: Working | Pending | Busy) -> None:
    if watch is not None:
        watch(reply)
