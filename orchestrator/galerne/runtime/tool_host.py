"""A tool worker: performs typed calls from the bus, each key at most once where that matters.

call ─▶ at the limit: busy
─▶ wants a person's leave, and has none for these arguments: needs_approval
─▶ pure: perform, reply            (repeating it changes nothing: no journal)
─▶ idempotent, once: the journal decides (`tool_journal`)
and `working` is sent as a heartbeat as long as it takes (`tool_active`).

A tool has two subjects: one of just this version (its route, as announced), where whoever has read
the announcement calls it, and one of whatever version, where NATS tools find it (`tool_service`).
"""

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import lru_cache, partial

import anyio
import anyio.abc
import msgspec
import structlog

from galerne.bus.connection import Bus
from galerne.bus.job_blobs import JobBlobs
from galerne.bus.wire import Headers, Take
from galerne.core.announced import MOST_TOOLS
from galerne.core.asks import arguments_hash
from galerne.core.tool_versions import route_of
from galerne.errors import GalerneError, InvalidMessageError, InvalidSettingsError, TransientError
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.codec import decode_call_tool, encode
from galerne.messages.ids import is_id
from galerne.messages.tools import (
    Busy,
    CallTool,
    NeedsApproval,
    ToolOutcome,
    ToolRefused,
    ToolReply,
    ToolResult,
    ToolsAlive,
    ToolSpec,
    ToolsPresent,
)
from galerne.runtime.presence import announce
from galerne.runtime.quarantine import Quarantine
from galerne.runtime.spool import Spool
from galerne.runtime.tool_active import ActiveCall, ActiveCalls
from galerne.runtime.tool_directory import HEARTBEAT
from galerne.runtime.tool_journal import Begin, ToolJournal
from galerne.runtime.tool_service import QUEUE, ToolService
from galerne.settings import Settings
from galerne.tools import AnyTool, ToolContext, invoke

log = get_logger("galerne.runtime.tools")


KEY_TOKENS = 8
"""Tokens of a call's key; an executor's has three: job, task, step."""
ROUNDS = 100
"""How often a call may be begun anew: the journal of each earlier round is read before."""
JOBS = 64
"""Jobs whose way to their large content is kept: most calls come from a few."""
_FAREWELL = 1.0
"""Seconds to give subscriptions back; the connection may be gone."""


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
        self._settings = settings
        self._clock = clock
        self._journal = ToolJournal(bus, me, spool, settings.worker, clock)
        self._quarantine = Quarantine(bus, me, clock)
        self._active = ActiveCalls(bus, me, settings.tools.heartbeat)
        self._blobs = lru_cache(JOBS)(partial(JobBlobs, bus))
        self._calls: anyio.abc.TaskGroup | None = None
        self._started = clock()
        self._specs = {name: routed(tool.spec) for name, tool in tools.items()}
        self._takes = {name: self._taker(tool) for name, tool in tools.items()}
        self._service = ToolService(bus, me, self._specs, self._takes, self._active)

    async def run(self, stop: anyio.Event, started: anyio.Event) -> None:
        """Serve until `stop` is set, then finish what is running within the drain time.

        Raises InvalidSettingsError where the tools cannot all be announced in one message.
        """
        self._check_announcement()
        await self._active.listen()
        async with anyio.create_task_group() as calls, anyio.create_task_group() as beside:
            self._calls = calls
            beside.start_soon(self._active.tell)
            beside.start_soon(self._active.look_for_ends, self._settings.worker.heartbeat)
            async with self._listening(), anyio.create_task_group() as announcing:
                await announcing.start(self._service.run)
                await announcing.start(self._announce)
                with contextlib.suppress(TransientError):  # else once it is back
                    await self._bus.flush()  # from here on the server gives it calls
                started.set()
                log.info("serving", tools=sorted(self._tools))
                await stop.wait()
                announcing.cancel_scope.cancel()
            with anyio.move_on_after(self._settings.worker.drain):
                await self._active.emptied()
            calls.cancel_scope.cancel()
            beside.cancel_scope.cancel()

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncGenerator[None]:
        """Calls of just these versions are taken while it lasts."""
        subscriptions = [
            await self._bus.listen(
                self._bus.subjects.tool(name, spec.route), self._takes[name], QUEUE
            )
            for name, spec in self._specs.items()
        ]
        try:
            yield
        finally:
            with anyio.move_on_after(_FAREWELL, shield=True):
                for subscription in subscriptions:
                    self._bus.unlisten(subscription)
                    await subscription.unsubscribe()

    async def _announce(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        await announce(
            self._bus,
            "tools",
            HEARTBEAT,
            self._presence,
            me=self._me,
            pulse=self._pulse,
            task_status=task_status,
        )

    def _presence(self, leaving: bool) -> bytes:  # noqa: FBT001 - a callback of one argument
        return encode(
            ToolsPresent(
                worker=self._me,
                tools=tuple(self._specs.values()),
                capacity=self._settings.tools.concurrency,
                active=len(self._active),
                leaving=leaving,
                started=self._started,
            )
        )

    def _pulse(self) -> bytes:
        capacity = self._settings.tools.concurrency
        return encode(ToolsAlive(worker=self._me, capacity=capacity, active=len(self._active)))

    def _check_announcement(self) -> None:
        if len(self._tools) > MOST_TOOLS:
            raise InvalidSettingsError(
                f"{len(self._tools)} tools are too many for one worker, which may announce"
                f" {MOST_TOOLS}: serve them by several"
            )
        size = len(self._presence(False))  # noqa: FBT003 - as above
        if size > self._bus.largest:
            raise InvalidSettingsError(
                f"{len(self._tools)} tools describe themselves in {size} bytes, and a message has"
                f" {self._bus.largest} at most: serve them by several workers"
            )

    def _taker(self, tool: AnyTool) -> Take:
        """What takes a tool's calls, in the reader of the connection: decides at once."""

        def take(subject: str, reply: str, data: bytes, _: Headers) -> None:
            assert self._calls is not None, "it listens only while it runs"
            if self._is_full(tool):
                self._reply(reply, Busy())
                return
            try:
                call = decode_call_tool(data)
                _check(call, tool)
            except InvalidMessageError as error:
                self._calls.start_soon(self._refuse, subject, reply, data, error)
                return
            reach("tool.received")
            self._calls.start_soon(self._serve, tool, self._active.begin(call, reply))

        return take

    def _is_full(self, tool: AnyTool) -> bool:
        """Whether the worker, or this tool, has as many calls in hand as it may."""
        most = tool.concurrency
        if most is not None and self._active.of(tool.spec.name) >= most:
            return True
        return len(self._active) >= self._settings.tools.concurrency

    async def _refuse(
        self, subject: str, reply: str, data: bytes, error: InvalidMessageError
    ) -> None:
        self._reply(reply, ToolRefused(code=error.code, message=str(error)))
        with contextlib.suppress(TransientError):  # it has said so, and has no other place
            await self._quarantine.put(subject, data, str(error))

    async def _serve(self, tool: AnyTool, one: ActiveCall) -> None:
        call = one.call
        # The call's own asyncio task: nobody else sees what is bound here.
        structlog.contextvars.bind_contextvars(tool=call.tool, key=call.key)
        try:
            with one.scope:
                reply = await self._answer(tool, one)
                reach("tool.replied.before")
                self._service.count(reply, call.tool)
                self._reply(one.reply, reply)
                reach("tool.replied.after")
        except Exception as error:
            log.exception("a tool call could not be served", key=call.key)
            why = f"the tool's worker failed inside: {type(error).__name__}"
            self._reply(one.reply, ToolRefused(code="tool_bug", message=why))
        finally:
            self._active.end(one)

    async def _answer(self, tool: AnyTool, one: ActiveCall) -> ToolReply:
        why = _wants_leave(tool, one.call)
        if why is not None:
            return NeedsApproval(why=why)
        if tool.spec.effect == "pure":
            return await self._perform(tool, one)
        return await self._journal.answer(
            one.call, tool.spec.effect, lambda begin: self._perform(tool, one, begin)
        )

    async def _perform(
        self, tool: AnyTool, one: ActiveCall, begin: Begin | None = None
    ) -> ToolOutcome:
        call = one.call
        context = ToolContext(
            key=call.key,
            deadline=call.deadline,
            tenant=call.tenant,
            clock=self._clock,
            blobs=self._blobs(call.tenant, one.job),
            progress=one.report,
        )
        reach("effect.before")
        inline = self._bus.settings.inline
        outcome = await invoke(tool, call.arguments, context, inline=inline, begin=begin)
        reach("effect.after")
        return outcome

    def _reply(self, reply_to: str, reply: ToolReply) -> None:
        if not reply_to:
            return
        try:
            self._bus.post(reply_to, encode(reply))
        except GalerneError as error:
            if isinstance(reply, ToolResult):
                log.warning("a result could not be sent", error=str(error))


def routed(spec: ToolSpec) -> ToolSpec:
    """As it is announced: with the token of the subject of just this version."""
    return msgspec.structs.replace(spec, route=route_of(spec))


def _wants_leave(tool: AnyTool, call: CallTool) -> str | None:
    """Why a person must agree first; None where nobody must, or has, to just these arguments."""
    why = tool.leave(call.arguments)
    if why is None or call.approved == arguments_hash(call.tool, call.arguments):
        return None
    return why


def _check(call: CallTool, tool: AnyTool) -> None:
    """Raises InvalidMessageError where a name, a key or a round could not stand in a subject."""
    if call.tool != tool.spec.name:
        raise InvalidMessageError(f"a call of {call.tool[:64]!r} came for {tool.spec.name}")
    tokens = call.key.split(".")
    fits = len(tokens) <= KEY_TOKENS and all(is_id(token) for token in tokens)
    if not fits or not is_id(call.tenant):
        raise InvalidMessageError("the call's tenant or key has characters that are not allowed")
    if not 0 <= call.round <= ROUNDS:
        raise InvalidMessageError(f"the call's round must be from 0 to {ROUNDS}")
