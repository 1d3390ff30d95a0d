"""What keeps an effect from happening twice: the tool journal, a claim and a result for each key.

result is there, of this round or of an earlier one: reply it
─▶ a live claim of another worker: pending until its lease ends
─▶ a dead claim whose result is in a spool of this host: journaled, and replied
─▶ another dead claim: `idempotent` goes on with the same key; `once` is in doubt, which is written
   over the claim, so that whoever held it and was only slow begins nothing any more
─▶ claim, make sure of it, perform while the claim is renewed, spool, journal, reply

An effect that has begun is not broken off by the doubt about it: what comes of it is journaled,
late, as the truth.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import msgspec

from galerne.bus import store
from galerne.bus.connection import Bus
from galerne.bus.mapping import ConflictError
from galerne.errors import (
    FencedError,
    GalerneError,
    InDoubtError,
    InvalidMessageError,
    PermanentError,
    TransientError,
)
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
from galerne.runtime.spool import LAST_WRITE, Spool
from galerne.runtime.spools import Spooled
from galerne.settings import WorkerSettings

log = get_logger("galerne.runtime.tools")

CONTESTED = 0.5
"""Seconds until a caller asks again where another worker has claimed its call at that moment."""
Begin = Callable[[], Awaitable[None]]
"""Awaited last before the effect. Raises FencedError where it must not be begun."""
Perform = Callable[[Begin], Awaitable[ToolOutcome]]
"""Has the effect, after `Begin`, and says what came of it."""


class ToolClaim(msgspec.Struct, frozen=True, omit_defaults=True):
    """In the tool journal: `by` performs the call, surely dead after `until` (Unix seconds).

    `in_doubt`: another has found it dead and written this over its claim, which it keeps no more.
    """

    by: str
    until: float
    in_doubt: bool = False


class _Held:
    """A claim of this worker, and until when it was written to hold."""

    __slots__ = ("subject", "turn", "until")

    def __init__(self, subject: str, until: float) -> None:
        self.subject = subject
        self.until = until
        self.turn = anyio.Lock()


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
        self._performing: set[tuple[str, str]] = set()
        """Tenants and keys of the calls that are under way here."""

    async def answer(self, call: CallTool, effect: Effect, perform: Perform) -> ToolReply:
        """One at a time for each key: a caller that lost its first reply sends it again.

        So does one for whom a slow round is over: it waits for what comes of it.
        """
        name = (call.tenant, call.key)
        if name in self._performing:
            return Pending(until=self._clock() + self._settings.heartbeat)
        self._performing.add(name)
        try:
            return await self._journaled(call, effect, perform)
        finally:
            self._performing.discard(name)

    async def _journaled(self, call: CallTool, effect: Effect, perform: Perform) -> ToolReply:
        try:
            known = await self._known(call)
            if known is not None:
                return known
            if call.deadline <= self._clock():
                return Busy()  # nothing is begun, so nothing is journaled: the caller tries anew
            held = await self._claim(call, effect)
        except TransientError as error:
            log.warning("the tool journal is away", error=str(error))
            return Busy()
        if not isinstance(held, _Held):
            return held
        reply: ToolReply | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._renew, held)
            reply = await self._performed(call, held, perform)
            tasks.cancel_scope.cancel()
        assert reply is not None, "the group was not cancelled before this"
        return reply

    async def _performed(self, call: CallTool, held: _Held, perform: Perform) -> ToolReply:
        """Perform a call that is claimed, and journal what came of it."""
        try:
            outcome = await perform(partial(self._begin, held))
        except FencedError as error:
            log.warning("a tool call is not begun", error=str(error))
            return Pending(until=self._clock() + CONTESTED)
        message = Spooled(
            self._bus.new_message_id(), self._subject(call, "result"), encode(outcome)
        )
        with anyio.CancelScope(shield=True):  # the effect has happened: to the disk
            await self._spool.put(message)
        try:
            stands = await self._publish(message)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(LAST_WRITE, shield=True):  # whoever asks again needs it
                await self._publish(message)
                self._begun.discard(held.subject)
            raise
        self._begun.discard(held.subject)
        return outcome if stands is None else _outcome(stands)

    async def _publish(self, message: Spooled) -> store.Stored | None:
        """Journal a result; gives the one that stands in its place, where another was first."""
        reach("journal.result.before")
        try:
            stands = await store.write_once(
                self._bus, self._stream, message.subject, message.data, message.id
            )
        except PermanentError:
            self._spool.confirm(message.id)  # the next process could do no better
            raise
        reach("journal.result.after")
        self._spool.confirm(message.id)
        return stands

    async def _known(self, call: CallTool) -> ToolReply | None:
        """What has come of the call, in this round, or in an earlier one after all."""
        stored = await store.last(self._bus, self._stream, self._subject(call, "result"))
        if stored is not None:
            return _outcome(stored)
        return await late_result(self._bus, call.tenant, call.key, call.round)

    async def _claim(self, call: CallTool, effect: Effect) -> _Held | ToolReply:
        """The key, held; or what to tell the caller. Raises TransientError."""
        subject = self._subject(call, "claim")
        stored = await store.last(self._bus, self._stream, subject)
        if stored is not None:
            refusal = await self._refusal(call, effect, stored)
            if refusal is not None:
                return refusal
        try:
            until = await self._write_claim(subject, stored.sequence if stored else 0)
        except ConflictError:
            return Pending(until=self._clock() + CONTESTED)
        return _Held(subject, until)

    async def _refusal(
        self, call: CallTool, effect: Effect, stored: store.Stored
    ) -> ToolReply | None:
        """Why a claim that stands keeps the call from being begun. Raises TransientError."""
        claim = _claim_of(stored)
        if effect == "once" and claim.in_doubt:
            return _in_doubt(call)
        # Ours, and nothing was begun: the acknowledgement of the claim was lost.
        if claim.by == self._me and stored.subject not in self._begun and not claim.in_doubt:
            return None
        dead_at = claim.until + self._settings.clock_margin
        if effect == "once":  # slow is not dead: a person is not asked in vain
            dead_at += self._settings.lease
        if dead_at > self._clock():
            return Pending(until=dead_at)
        if (known := await self._spooled(call)) is not None:
            return known
        return await self._doubt(call, claim, stored) if effect == "once" else None

    async def _spooled(self, call: CallTool) -> ToolReply | None:
        """The result that the spools of this host hold, in the journal now. Raises TransientError.

        The claimant of that other process has performed the call and died before it could say so.
        """
        held = await self._spool.held_here(self._subject(call, "result"))
        for message in held:
            try:
                await self._publish(message)
            except PermanentError as error:
                log.error("a paid result is lost", subject=message.subject, why=str(error))  # noqa: TRY400 - the sentence says it all
        return await self._known(call) if held else None

    async def _doubt(self, call: CallTool, claim: ToolClaim, stored: store.Stored) -> ToolReply:
        """Write that nobody knows over a dead claim. Raises TransientError."""
        doubt = encode(msgspec.structs.replace(claim, in_doubt=True))
        reach("journal.doubt.before")
        try:
            await store.append(self._bus, self._stream, stored.subject, doubt, stored.sequence)
            reach("journal.doubt.after")
        except ConflictError:  # it lives after all, or another was here first
            return Pending(until=self._clock() + CONTESTED)
        return await self._known(call) or _in_doubt(call)

    async def _write_claim(self, subject: str, expected: int) -> float:
        """Append a claim; gives until when it holds. Raises ConflictError, TransientError."""
        claim = ToolClaim(self._me, self._clock() + self._settings.lease)
        reach("journal.claim.before")
        await store.append(self._bus, self._stream, subject, encode(claim), expected)
        reach("journal.claim.after")
        return claim.until

    async def _begin(self, held: _Held) -> None:
        """Make sure, last before the effect, that the claim is still good by all clocks.

        Raises FencedError where it is not, or where nobody can tell.
        """
        async with held.turn:
            if self._clock() > held.until - self._settings.clock_margin:
                try:
                    await self._extend(held)
                except (ConflictError, TransientError) as error:
                    raise FencedError(f"its claim could not be renewed: {error}") from error
        self._begun.add(held.subject)

    async def _renew(self, held: _Held) -> None:
        """Keep a claim until cancelled, or until another has written over it."""
        while True:
            await anyio.sleep(self._settings.heartbeat)
            try:
                async with held.turn:
                    await self._extend(held)
            except FencedError as error:
                log.warning("a tool call goes on without its claim", error=str(error))
                return
            except GalerneError as error:
                log.debug("a tool claim could not be renewed", error=str(error))

    async def _extend(self, held: _Held) -> None:
        """Raises FencedError where the claim is no longer ours, ConflictError, TransientError."""
        stored = await store.last(self._bus, self._stream, held.subject)
        if stored is not None:
            claim = _claim_of(stored)
            if claim.in_doubt:
                raise FencedError("it was found dead, and its effect is in doubt")
            if claim.by != self._me:
                raise FencedError(f"worker {claim.by[:64]!r} has taken it over")
        held.until = await self._write_claim(held.subject, stored.sequence if stored else 0)

    def _subject(self, call: CallTool, entry: str) -> str:
        return self._bus.subjects.tool_journal(call.tenant, call.key, entry, call.round)


async def late_result(bus: Bus, tenant: str, key: str, rounds: int) -> ToolOutcome | None:
    """What one of a call's first `rounds` rounds has come to, though each was found in doubt.

    A worker that was slow, or cut off, journals its result late: then nobody is in doubt any more,
    and the call is not begun anew. Raises TransientError.
    """
    stream = bus.subjects.stream("TOOLJ")
    for round_ in reversed(range(rounds)):
        subject = bus.subjects.tool_journal(tenant, key, "result", round_)
        stored = await store.last(bus, stream, subject)
        if stored is None:
            continue
        outcome = _outcome(stored)
        if not isinstance(outcome, ToolRefused) or outcome.code != InDoubtError.code:
            return outcome
    return None


def _in_doubt(call: CallTool) -> ToolRefused:
    return ToolRefused(
        code=InDoubtError.code,
        message=f"{call.tool} was begun by a worker that died: it may have happened",
    )


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
    return ToolRefused(
        code=InDoubtError.code, message="this call's result in the journal is unreadable"
    )
