"""A tool worker: performs typed calls from the bus, each key at most once where that matters.

call ─▶ at the limit: busy
─▶ pure: perform, reply            (repeating it changes nothing: no journal)
─▶ wants a person's leave, and has none for these arguments: needs_approval
─▶ journal has the result: reply it
─▶ a live claim of another worker: pending until its lease ends
─▶ a dead claim: `idempotent` goes on with the same key, `once` is in doubt
─▶ claim, perform, spool, journal, reply
and `working` is sent as a heartbeat as long as it takes.
"""

import contextlib
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import Any

import anyio
import anyio.abc
import msgspec
import structlog

from galerne.bus import store
from galerne.bus.connection import Bus, Message
from galerne.bus.job_blobs import JobBlobs
from galerne.bus.mapping import ConflictError
from galerne.core.asks import arguments_hash
from galerne.errors import GalerneError, InvalidMessageError, TransientError
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.codec import decode_call_tool, decode_tool_reply, encode
from galerne.messages.ids import JobId, TenantId, is_id
from galerne.messages.subjects import JobAddress
from galerne.messages.tools import (
    Busy,
    CallTool,
    NeedsApproval,
    Pending,
    ToolOutcome,
    ToolRefused,
    ToolReply,
    ToolResult,
    ToolsPresent,
    Working,
)
from galerne.runtime.ends import listen_for_ends
from galerne.runtime.presence import announce
from galerne.runtime.quarantine import Quarantine
from galerne.runtime.spool import Spool, Spooled
from galerne.runtime.tool_directory import HEARTBEAT
from galerne.settings import Settings
from galerne.tools import AnyTool, ToolContext, invoke

log = get_logger("galerne.runtime.tools")


KEY_TOKENS = 8
"""Tokens of a call's key; an executor's has three: job, task, step."""


class ToolClaim(msgspec.Struct, frozen=True, omit_defaults=True):
    """In the tool journal: `by` performs the call, surely dead after `until` (Unix seconds)."""

    by: str
    until: float


_decode_claim = msgspec.json.Decoder(ToolClaim).decode


class ToolHost:
    """Serves a set of tools."""

    def __init__(
        self,
        bus: Bus,
        me: str,
        tools: Mapping[str, AnyTool],
        spool: Spool,
        settings: Settings,
        clock: Callable[[], float],
    ) -> None:
        self._bus = bus
        self._me = me
        self._tools = tools
        self._spool = spool
        self._settings = settings
        self._clock = clock
        self._journal = bus.subjects.stream("TOOLJ")
        self._quarantine = Quarantine(bus, me, clock)
        self._begun: set[str] = set()
        """Subjects of the claims under which an effect was begun here and is not journaled."""
        self._performing: set[str] = set()
        self._active = 0
        self._of_jobs: dict[JobAddress, set[anyio.CancelScope]] = {}
        self._idle = anyio.Event()

    async def run(self, stop: anyio.Event, started: anyio.Event) -> None:
        """Serve until `stop` is set, then finish what is running within the drain time."""
        await listen_for_ends(self._bus, self._of_jobs.__contains__, self._stop_job)
        async with anyio.create_task_group() as calls:
            subscriptions = [
                await self._bus.subscribe(
                    self._bus.subjects.tool(name), self._receiver(tool, calls), queue="tools"
                )
                for name, tool in self._tools.items()
            ]
            async with anyio.create_task_group() as announcing:
                await announcing.start(announce, self._bus, "tools", HEARTBEAT, self._presence)
                started.set()
                log.info("serving", tools=sorted(self._tools))
                await stop.wait()
                announcing.cancel_scope.cancel()
            for subscription in subscriptions:
                await subscription.unsubscribe()
            with anyio.move_on_after(self._settings.worker.drain):
                while self._active:
                    self._idle = anyio.Event()
                    await self._idle.wait()
            calls.cancel_scope.cancel()

    def _presence(self, leaving: bool) -> bytes:  # noqa: FBT001 - a callback of one argument
        specs = tuple(tool.spec for tool in self._tools.values())
        return encode(
            ToolsPresent(
                worker=self._me,
                tools=specs,
                capacity=self._settings.tools.concurrency,
                active=self._active,
                leaving=leaving,
            )
        )

    def _receiver(
        self, tool: AnyTool, calls: anyio.abc.TaskGroup
    ) -> Callable[[Message], Coroutine[Any, Any, None]]:
        async def receive(message: Message) -> None:
            if self._active >= self._settings.tools.concurrency:
                await self._reply(message, Busy())
                return
            try:
                call = decode_call_tool(message.data)
                _check(call, tool)
            except InvalidMessageError as error:
                await self._reply(message, ToolRefused(code=error.code, message=str(error)))
                with contextlib.suppress(TransientError):  # it has said so, and has no other place
                    await self._quarantine.put(message.subject, message.data, str(error))
                return
            reach("tool.received")
            self._active += 1
            calls.start_soon(self._serve, tool, call, message)

        return receive

    async def _serve(self, tool: AnyTool, call: CallTool, message: Message) -> None:
        try:
            with (
                structlog.contextvars.bound_contextvars(tool=call.tool, key=call.key),
                self._of_job(call),
            ):
                reply = await self._answer(tool, call, message)
                reach("tool.replied.before")
                await self._reply(message, reply)
                reach("tool.replied.after")
        except Exception as error:
            log.exception("a tool call could not be served", key=call.key)
            why = f"the tool's worker failed inside: {type(error).__name__}"
            await self._reply(message, ToolRefused(code="tool_bug", message=why))
        finally:
            self._active -= 1
            self._idle.set()

    @contextlib.contextmanager
    def _of_job(self, call: CallTool) -> Generator[None]:
        """For as long as it lasts, the end of the call's job stops it."""
        address = self._bus.subjects.address(
            TenantId(call.tenant), JobId(call.key.partition(".")[0])
        )
        with anyio.CancelScope() as scope:
            self._of_jobs.setdefault(address, set()).add(scope)
            try:
                yield
            finally:
                self._of_jobs[address].discard(scope)
                if not self._of_jobs[address]:
                    del self._of_jobs[address]

    async def _stop_job(self, address: JobAddress) -> None:
        for scope in self._of_jobs.get(address, ()):
            scope.cancel()

    async def _answer(self, tool: AnyTool, call: CallTool, message: Message) -> ToolReply:
        """The outcome, with heartbeats to the caller on the way."""
        reply: ToolReply | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._heartbeats, message)
            why = _wants_leave(tool, call)
            if why is not None:
                reply = NeedsApproval(why=why)
            elif tool.spec.effect == "pure":
                reply = await self._perform(tool, call)
            else:
                reply = await self._alone(tool, call)
            tasks.cancel_scope.cancel()
        assert reply is not None, "the group was not cancelled before this"
        return reply

    async def _heartbeats(self, message: Message) -> None:
        while True:
            await anyio.sleep(self._settings.tools.heartbeat)
            await self._reply(message, Working(by=self._me))

    async def _perform(self, tool: AnyTool, call: CallTool) -> ToolOutcome:
        job = call.key.partition(".")[0]
        context = ToolContext(
            key=call.key,
            deadline=call.deadline,
            tenant=call.tenant,
            clock=self._clock,
            blobs=JobBlobs(self._bus, call.tenant, job),
        )
        reach("effect.before")
        outcome = await invoke(tool, call.arguments, context, inline=self._bus.settings.inline)
        reach("effect.after")
        return outcome

    # tools whose effect must not be repeated blindly

    async def _alone(self, tool: AnyTool, call: CallTool) -> ToolReply:
        """One at a time for each key: a caller that lost its first reply sends it again."""
        claim = self._subject(call, "claim")
        if claim in self._performing:
            return Pending(until=self._clock() + self._settings.worker.heartbeat)
        self._performing.add(claim)
        try:
            return await self._journaled(tool, call)
        finally:
            self._performing.discard(claim)

    async def _journaled(self, tool: AnyTool, call: CallTool) -> ToolReply:
        try:
            known = await self._known(call)
            if known is not None:
                return known
            if call.deadline <= self._clock():
                return Busy()  # nothing is begun, so nothing is journaled: the caller tries anew
            refusal = await self._claim(tool, call)
            if refusal is not None:
                return refusal
        except TransientError as error:
            log.warning("the tool journal is away", error=str(error))
            return Busy()
        return await self._performed(tool, call)

    async def _performed(self, tool: AnyTool, call: CallTool) -> ToolReply:
        """Perform a call that is claimed, and journal what came of it."""
        outcome = await self._while_claimed(tool, call)
        message = Spooled(
            self._bus.new_message_id(), self._subject(call, "result"), encode(outcome)
        )
        with anyio.CancelScope(shield=True):  # the effect has happened: to the disk
            await self._spool.put(message)
        reach("journal.result.before")
        stands = await store.write_once(
            self._bus, self._journal, message.subject, message.data, message.id
        )
        reach("journal.result.after")
        self._spool.confirm(message.id)
        self._begun.discard(self._subject(call, "claim"))
        return outcome if stands is None else _outcome(stands)

    async def _known(self, call: CallTool) -> ToolReply | None:
        stored = await store.last(self._bus, self._journal, self._subject(call, "result"))
        return None if stored is None else _outcome(stored)

    async def _claim(self, tool: AnyTool, call: CallTool) -> ToolReply | None:
        """Hold the key (None), or what to tell the caller. Raises TransientError."""
        subject = self._subject(call, "claim")
        expected = 0
        stored = await store.last(self._bus, self._journal, subject)
        if stored is not None:
            claim = _claim_of(stored)
            # Ours, and nothing was begun: the acknowledgement of the claim was lost.
            ours = claim.by == self._me and subject not in self._begun
            dead_at = claim.until + self._settings.worker.clock_margin
            if tool.spec.effect == "once":  # slow is not dead: a person is not asked in vain
                dead_at += self._settings.worker.lease
            if dead_at > self._clock() and not ours:
                return Pending(until=dead_at)
            if tool.spec.effect == "once" and not ours:
                return ToolRefused(
                    code="in_doubt",
                    message=f"{call.tool} was begun by a worker that died: it may have happened",
                )
            expected = stored.sequence
        try:
            await self._write_claim(subject, expected)
        except ConflictError:
            return Pending(until=self._clock() + self._settings.tools.heartbeat)
        self._begun.add(subject)
        return None

    async def _write_claim(self, subject: str, expected: int) -> int:
        claim = ToolClaim(self._me, self._clock() + self._settings.worker.lease)
        reach("journal.claim.before")
        sequence = await store.append(self._bus, self._journal, subject, encode(claim), expected)
        reach("journal.claim.after")
        return sequence

    async def _while_claimed(self, tool: AnyTool, call: CallTool) -> ToolOutcome:
        """Perform it while the claim is renewed."""
        outcome: ToolOutcome | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._renew, self._subject(call, "claim"))
            outcome = await self._perform(tool, call)
            tasks.cancel_scope.cancel()
        assert outcome is not None, "the group was not cancelled before this"
        return outcome

    async def _renew(self, subject: str) -> None:
        """Keep a claim until cancelled, or until another worker has it."""
        while True:
            await anyio.sleep(self._settings.worker.heartbeat)
            try:
                stored = await store.last(self._bus, self._journal, subject)
                if stored is not None and _claim_of(stored).by != self._me:
                    log.warning("another worker has taken a tool call over")
                    return
                await self._write_claim(subject, stored.sequence if stored else 0)
            except GalerneError as error:
                log.debug("a tool claim could not be renewed", error=str(error))

    def _subject(self, call: CallTool, entry: str) -> str:
        return self._bus.subjects.tool_journal(call.tenant, call.key, entry, call.round)

    async def _reply(self, message: Message, reply: ToolReply) -> None:
        if not message.reply:
            return
        try:
            await self._bus.send(message.reply, encode(reply))
        except GalerneError as error:
            if isinstance(reply, ToolResult):
                log.warning("a result could not be sent", error=str(error))


def _wants_leave(tool: AnyTool, call: CallTool) -> str | None:
    """Why a person must agree first; None where nobody must, or has, to just these arguments."""
    why = tool.leave(call.arguments)
    if why is None or call.approved == arguments_hash(call.tool, call.arguments):
        return None
    return why


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


def _check(call: CallTool, tool: AnyTool) -> None:
    """Raises InvalidMessageError where a key or a name could not stand in a subject."""
    if call.tool != tool.spec.name:
        raise InvalidMessageError(f"a call of {call.tool[:64]!r} came for {tool.spec.name}")
    tokens = call.key.split(".")
    fits = len(tokens) <= KEY_TOKENS and all(is_id(token) for token in tokens)
    if not fits or not is_id(call.tenant):
        raise InvalidMessageError("the call's tenant or key has characters that are not allowed")
