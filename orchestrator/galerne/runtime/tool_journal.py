"""What keeps an effect from happening twice: the tool journal, a claim and a result for each key.

result is there: reply it
─▶ a live claim of another worker: pending until its lease ends
─▶ a dead claim: `idempotent` goes on with the same key, `once` is in doubt
─▶ claim, perform while the claim is renewed, spool, journal, reply
"""

from collections.abc import Awaitable, Callable

import anyio
import msgspec

from galerne.bus import store
from galerne.bus.connection import Bus
from galerne.bus.mapping import ConflictError
from galerne.errors import GalerneError, InvalidMessageError, TransientError
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.codec import decode_tool_reply, encode
from galerne.messages.tools import (
    Busy,
    CallTool,
    Effect,
    Pending,
    ToolOutcome,
    ToolRefused,
    ToolReply,
    ToolResult,
)
from galerne.runtime.spool import Spool, Spooled
from galerne.settings import WorkerSettings

log = get_logger("galerne.runtime.tools")

CONTESTED = 0.5
"""Seconds until a caller asks again where another worker has claimed its call at that moment."""
Perform = Callable[[], Awaitable[ToolOutcome]]
"""Has the effect, and says what came of it."""


class ToolClaim(msgspec.Struct, frozen=True, omit_defaults=True):
    """In the tool journal: `by` performs the call, surely dead after `until` (Unix seconds)."""

    by: str
    until: float


_decode_claim = msgspec.json.Decoder(ToolClaim).decode


class ToolJournal:
    """The calls of one tool worker whose effect must not be repeated blindly."""

    def __init__(
        self,
        bus: Bus,
        me: str,
        spool: Spool,
        settings: WorkerSettings,
        clock: Callable[[], float],
    ) -> None:
        self._bus = bus
        self._me = me
        self._spool = spool
        self._settings = settings
        self._clock = clock
        self._stream = bus.subjects.stream("TOOLJ")
        self._begun: set[str] = set()
        """Subjects of the claims under which an effect was begun here and is not journaled."""
        self._performing: set[str] = set()

    async def answer(self, call: CallTool, effect: Effect, perform: Perform) -> ToolReply:
        """One at a time for each key: a caller that lost its first reply sends it again."""
        claim = self._subject(call, "claim")
        if claim in self._performing:
            return Pending(until=self._clock() + self._settings.heartbeat)
        self._performing.add(claim)
        try:
            return await self._journaled(call, effect, perform)
        finally:
            self._performing.discard(claim)

    async def _journaled(self, call: CallTool, effect: Effect, perform: Perform) -> ToolReply:
        try:
            known = await self._known(call)
            if known is not None:
                return known
            if call.deadline <= self._clock():
                return Busy()  # nothing is begun, so nothing is journaled: the caller tries anew
            refusal = await self._claim(call, effect)
            if refusal is not None:
                return refusal
        except TransientError as error:
            log.warning("the tool journal is away", error=str(error))
            return Busy()
        return await self._performed(call, perform)

    async def _performed(self, call: CallTool, perform: Perform) -> ToolReply:
        """Perform a call that is claimed, and journal what came of it."""
        outcome = await self._while_claimed(call, perform)
        message = Spooled(
            self._bus.new_message_id(), self._subject(call, "result"), encode(outcome)
        )
        with anyio.CancelScope(shield=True):  # the effect has happened: to the disk
            await self._spool.put(message)
        reach("journal.result.before")
        stands = await store.write_once(
            self._bus, self._stream, message.subject, message.data, message.id
        )
        reach("journal.result.after")
        self._spool.confirm(message.id)
        self._begun.discard(self._subject(call, "claim"))
        return outcome if stands is None else _outcome(stands)

    async def _known(self, call: CallTool) -> ToolReply | None:
        stored = await store.last(self._bus, self._stream, self._subject(call, "result"))
        return None if stored is None else _outcome(stored)

    async def _claim(self, call: CallTool, effect: Effect) -> ToolReply | None:
        """Hold the key (None), or what to tell the caller. Raises TransientError."""
        subject = self._subject(call, "claim")
        expected = 0
        stored = await store.last(self._bus, self._stream, subject)
        if stored is not None:
            claim = _claim_of(stored)
            # Ours, and nothing was begun: the acknowledgement of the claim was lost.
            ours = claim.by == self._me and subject not in self._begun
            dead_at = claim.until + self._settings.clock_margin
            if effect == "once":  # slow is not dead: a person is not asked in vain
                dead_at += self._settings.lease
            if dead_at > self._clock() and not ours:
                return Pending(until=dead_at)
            if effect == "once" and not ours:
                return ToolRefused(
                    code="in_doubt",
                    message=f"{call.tool} was begun by a worker that died: it may have happened",
                )
            expected = stored.sequence
        try:
            await self._write_claim(subject, expected)
        except ConflictError:
            return Pending(until=self._clock() + CONTESTED)
        self._begun.add(subject)
        return None

    async def _write_claim(self, subject: str, expected: int) -> int:
        claim = ToolClaim(self._me, self._clock() + self._settings.lease)
        reach("journal.claim.before")
        sequence = await store.append(self._bus, self._stream, subject, encode(claim), expected)
        reach("journal.claim.after")
        return sequence

    async def _while_claimed(self, call: CallTool, perform: Perform) -> ToolOutcome:
        """Perform it while the claim is renewed."""
        outcome: ToolOutcome | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._renew, self._subject(call, "claim"))
            outcome = await perform()
            tasks.cancel_scope.cancel()
        assert outcome is not None, "the group was not cancelled before this"
        return outcome

    async def _renew(self, subject: str) -> None:
        """Keep a claim until cancelled, or until another worker has it."""
        while True:
            await anyio.sleep(self._settings.heartbeat)
            try:
                stored = await store.last(self._bus, self._stream, subject)
                if stored is not None and _claim_of(stored).by != self._me:
                    log.warning("another worker has taken a tool call over")
                    return
                await self._write_claim(subject, stored.sequence if stored else 0)
            except GalerneError as error:
                log.debug("a tool claim could not be renewed", error=str(error))

    def _subject(self, call: CallTool, entry: str) -> str:
        return self._bus.subjects.tool_journal(call.tenant, call.key, entry, call.round)


def _claim_of(stored: store.Stored) -> ToolClaim:
    """What stands as the claim; bytes that are none belong to somebody who is gone."""
    try:
        return _decode_claim(stored.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ToolClaim(by="unknown", until=0.0)


def _outcome(stored: store.Stored) -> ToolOutcome:
    """The result in the journal; where it is unreadable nobody knows what has happened."""
    try:
        reply = decode_tool_reply(stored.data)
    except InvalidMessageError:
        reply = None
    if isinstance(reply, ToolResult | ToolRefused):
        return reply
    return ToolRefused(code="in_doubt", message="this call's result in the journal is unreadable")
