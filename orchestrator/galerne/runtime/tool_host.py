"""A tool worker: performs typed calls from the bus, each key at most once where that matters.

call ─▶ at the limit: busy
─▶ wants a person's leave, and has none for these arguments: needs_approval
─▶ pure: perform, reply            (repeating it changes nothing: no journal)
─▶ idempotent, once: the journal decides (`tool_journal`)
and `working` is sent as a heartbeat as long as it takes.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import Any

import anyio
import anyio.abc
import structlog

from galerne.bus.connection import Bus, Message
from galerne.bus.job_blobs import JobBlobs
from galerne.bus.log import FactLog
from galerne.core.asks import arguments_hash
from galerne.errors import GalerneError, InvalidMessageError, TransientError
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.codec import decode_call_tool, encode
from galerne.messages.ids import JobId, TenantId, is_id
from galerne.messages.subjects import JobAddress
from galerne.messages.tools import (
    Busy,
    CallTool,
    NeedsApproval,
    ToolOutcome,
    ToolRefused,
    ToolReply,
    ToolResult,
    ToolsPresent,
    Working,
)
from galerne.runtime.ends import is_over, listen_for_ends
from galerne.runtime.presence import announce
from galerne.runtime.quarantine import Quarantine
from galerne.runtime.spool import Spool
from galerne.runtime.tool_directory import HEARTBEAT
from galerne.runtime.tool_journal import Begin, ToolJournal
from galerne.settings import Settings
from galerne.tools import AnyTool, ToolContext, invoke

log = get_logger("galerne.runtime.tools")


KEY_TOKENS = 8
"""Tokens of a call's key; an executor's has three: job, task, step."""
ROUNDS = 100
"""How often a call may be begun anew: the journal of each earlier round is read before."""


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
        self._active = 0
        self._active_of = Counter[str]()
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
                announcing.start_soon(self._look_for_ends)
                with contextlib.suppress(TransientError):  # else once it is back
                    await self._bus.flush()  # from here on the server gives it calls
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
            if self._is_full(tool):
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
            self._active_of[tool.spec.name] += 1
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
            self._active_of[tool.spec.name] -= 1
            self._idle.set()

    def _is_full(self, tool: AnyTool) -> bool:
        """Whether the worker, or this tool, has as many calls in hand as it may."""
        most = tool.concurrency
        if most is not None and self._active_of[tool.spec.name] >= most:
            return True
        return self._active >= self._settings.tools.concurrency

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

    async def _look_for_ends(self) -> None:
        """The end of a job that was not heard live is found in the log, where calls take long."""
        facts, before = FactLog(self._bus), frozenset[JobAddress]()
        while True:
            await anyio.sleep(self._settings.worker.heartbeat)
            for address in before & self._of_jobs.keys():
                if await is_over(facts, address):
                    await self._stop_job(address)
            before = frozenset(self._of_jobs)

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
                reply = await self._journal.answer(
                    call, tool.spec.effect, lambda begin: self._perform(tool, call, begin)
                )
            tasks.cancel_scope.cancel()
        assert reply is not None, "the group was not cancelled before this"
        return reply

    async def _heartbeats(self, message: Message) -> None:
        while True:
            await anyio.sleep(self._settings.tools.heartbeat)
            await self._reply(message, Working(by=self._me))

    async def _perform(
        self, tool: AnyTool, call: CallTool, begin: Begin | None = None
    ) -> ToolOutcome:
        job = call.key.partition(".")[0]
        context = ToolContext(
            key=call.key,
            deadline=call.deadline,
            tenant=call.tenant,
            clock=self._clock,
            blobs=JobBlobs(self._bus, call.tenant, job),
        )
        reach("effect.before")
        inline = self._bus.settings.inline
        outcome = await invoke(tool, call.arguments, context, inline=inline, begin=begin)
        reach("effect.after")
        return outcome

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
