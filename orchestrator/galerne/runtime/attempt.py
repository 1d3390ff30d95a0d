"""One attempt at a task: what an agent sees of the runtime (`agent.TaskContext`).

Steps are numbered from 1. On a takeover the journal holds the first of them: those return at
once, and the first missing one is really done, written to the spool, and then to the log.
"""

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

import anyio
import anyio.abc
from anyio.streams.memory import MemoryObjectReceiveStream

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog, record_of
from galerne.bus.store import write_once
from galerne.core.view import step_usage
from galerne.errors import GalerneError, PermanentError, TransientError
from galerne.logs import get_logger
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.codec import encode
from galerne.messages.facts import AnyFact, ModelStep, Planned, Ready, Step, ToolStep
from galerne.messages.ids import JobId, TaskId, TenantId, is_id
from galerne.messages.live import Delta
from galerne.messages.plan import Usage
from galerne.messages.subjects import JobAddress
from galerne.messages.tools import CallTool, ToolOutcome, ToolRefused, ToolResult, ToolSpec
from galerne.runtime.lease import Lease
from galerne.runtime.spool import Spool, Spooled
from galerne.runtime.tool_caller import ToolCaller
from galerne.runtime.tool_directory import ToolDirectory

log = get_logger("galerne.runtime.attempt")

MAX_RESULT = 256 * 1024
"""Bytes of a tool result that travels inline."""
LAST_WRITE = 2.0
"""Seconds that a paid answer has to reach the log when its attempt is stopped."""


class Model(Protocol):
    """What the runtime needs of a model client."""

    async def ask(
        self,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        key: str | None = None,
    ) -> ChatReply: ...


class Services:
    """What all attempts of one worker share."""

    def __init__(
        self,
        bus: Bus,
        model: Model,
        spool: Spool,
        directory: ToolDirectory,
        caller: ToolCaller,
        clock: Callable[[], float],
    ) -> None:
        self.bus = bus
        self.facts = FactLog(bus)
        self.model = model
        self.spool = spool
        self.directory = directory
        self.caller = caller
        self.clock = clock


class Attempt:
    """An `agent.TaskContext`."""

    def __init__(
        self,
        services: Services,
        address: JobAddress,
        ready: Ready,
        lease: Lease,
    ) -> None:
        self.ready = ready
        self._services = services
        self._address = address
        self._lease = lease
        self._tasks: anyio.abc.TaskGroup | None = None
        self._journal: dict[int, Step] = {}
        self._step = 0
        self._writing = 0
        self._idle = anyio.Event()
        self._refused: GalerneError | None = None

    # what an agent sees

    @property
    def job(self) -> JobId:
        return self._address.job

    @property
    def tenant(self) -> TenantId:
        return self._address.tenant

    @property
    def attempt(self) -> int:
        return self._lease.attempt

    async def ask(
        self, request: ChatRequest, on_text: Callable[[str], None] | None = None
    ) -> ChatReply:
        n = self._next_step()
        known = self._journal.get(n)
        if known is None:
            return await self._ask_model(n, request, on_text)
        reply = self._reply_of(n, known)
        if on_text is not None and reply.message.content:
            on_text(reply.message.content)
        return reply

    async def call(self, call_id: str, tool: str, arguments: dict[str, Any]) -> ToolOutcome:
        n = self._next_step()
        known = self._journal.get(n)
        if known is None:
            return await self._call_tool(n, call_id, tool, arguments)
        return self._outcome_of(n, tool, known)

    async def tools(self) -> Sequence[ToolSpec]:
        specs = await self._services.directory.settled()
        allowed = self.ready.job_tools
        return [spec for name, spec in specs.items() if allowed is None or name in allowed]

    async def planned(self) -> Sequence[Planned]:
        if self.attempt == 1:
            return []
        subject = self._services.bus.subjects.job(self._address, "plan.>")
        records = await self._services.facts.read(subject)
        found = [record.fact for record in records if isinstance(record.fact, Planned)]
        return sorted(found, key=lambda planned: (planned.revision, planned.n))

    def write(self, fact: AnyFact) -> None:
        self._writing += 1
        self._group.start_soon(self._write, fact)

    # what the worker needs

    def within(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start what runs beside the agent (writes, live text) in this group."""
        self._tasks = tasks

    async def load_journal(self) -> None:
        """Read the steps of earlier attempts. Raises TransientError."""
        if self.attempt == 1:
            return
        subject = self._services.bus.subjects.job(self._address, f"step.{self._task}.*")
        for record in await self._services.facts.read(subject):
            if isinstance(record.fact, ModelStep | ToolStep):
                self._journal[record.fact.n] = record.fact

    async def written(self) -> None:
        """Wait until every `write` has arrived. Raises what is wrong with one that cannot."""
        while self._writing:
            self._idle = anyio.Event()
            await self._idle.wait()
        if self._refused is not None:
            raise self._refused

    def usage(self) -> Usage:
        total = Usage()
        for step in self._journal.values():
            total = total.plus(step_usage(step))
        return total

    # the inside

    @property
    def _group(self) -> anyio.abc.TaskGroup:
        assert self._tasks is not None, "the worker calls `within` first"
        return self._tasks

    @property
    def _task(self) -> TaskId:
        return self.ready.task.id

    def _next_step(self) -> int:
        self._step += 1
        return self._step

    def _key(self, n: int) -> str:
        return f"{self.job}.{self._task}.{n}"

    async def _ask_model(
        self, n: int, request: ChatRequest, on_text: Callable[[str], None] | None
    ) -> ChatReply:
        await self._lease.ensure()
        started = self._services.clock()
        with self._live_text(on_text) as heard:
            reply = await self._services.model.ask(request, on_text=heard, key=self._key(n))
        self._lease.back_end_answered()
        step = ModelStep(
            task=self._task,
            n=n,
            message=reply.message,
            model=reply.model,
            finish=reply.finish,
            usage=reply.usage,
            response_id=reply.id,
            latency_s=round(self._services.clock() - started, 4),
        )
        message = self._spooled(step)
        with anyio.CancelScope(shield=True):  # it is paid for: to the disk, whatever happens
            await self._services.spool.put(message)
        stands = await self._publish_spooled(message)
        return self._reply_of(n, self._journaled(step, stands))

    @contextlib.contextmanager
    def _live_text(
        self, on_text: Callable[[str], None] | None
    ) -> Generator[Callable[[str], None] | None]:
        """Give text to the agent and, in pieces as they pile up, to whoever watches."""
        if on_text is None:
            yield None
            return
        send, receive = anyio.create_memory_object_stream[str](100_000)

        def heard(text: str) -> None:
            on_text(text)
            with contextlib.suppress(anyio.WouldBlock):  # watching is a courtesy
                send.send_nowait(text)

        self._group.start_soon(self._pump, receive)
        with send:
            yield heard

    async def _pump(self, receive: MemoryObjectReceiveStream[str]) -> None:
        async with receive:
            async for text in receive:
                pieces = [text]
                with contextlib.suppress(anyio.WouldBlock, anyio.EndOfStream):
                    while True:
                        pieces.append(receive.receive_nowait())
                await self._send_delta("".join(pieces))

    async def _send_delta(self, text: str) -> None:
        delta = Delta(task=self._task, attempt=self.attempt, text=text)
        subject = self._services.bus.subjects.delta(self.tenant, self.job, self._task)
        try:
            await self._services.bus.send(subject, encode(delta))
        except GalerneError:
            return  # a courtesy, as above

    def _spooled(self, step: Step) -> Spooled:
        bus = self._services.bus
        subject = bus.subjects.fact(self._address, step)
        return Spooled(bus.new_message_id(), subject, encode(step))

    async def _publish_spooled(self, message: Spooled) -> AnyFact | None:
        """Publish it; gives the fact that stands in its place, where another was first."""
        try:
            return await self._publish(message)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(LAST_WRITE, shield=True):  # whoever takes over needs it
                await self._publish(message)
            raise

    async def _publish(self, message: Spooled) -> AnyFact | None:
        bus = self._services.bus
        stream = bus.subjects.stream("EVENTS")
        try:
            stands = await write_once(bus, stream, message.subject, message.data, message.id)
        except PermanentError:
            self._services.spool.confirm(message.id)  # the next process could do no better
            raise
        self._services.spool.confirm(message.id)
        if stands is None:
            return None
        return record_of(bus.subjects, stands.subject, stands.data, stands.sequence, stands.at).fact

    def _journaled(self, step: Step, stands: AnyFact | None) -> Step:
        """Keep in mind what the log holds as this step: ours, or the one that came before it.

        An earlier attempt's answer may arrive late, out of its spool; whoever takes over after us
        will read that one, so this attempt goes on with it too.
        """
        if isinstance(stands, ModelStep | ToolStep):
            log.warning("an earlier attempt's step came first and stands", step=step.n)
            step = stands
        self._journal[step.n] = step
        return step

    def _reply_of(self, n: int, step: Step) -> ChatReply:
        if not isinstance(step, ModelStep):
            raise PermanentError(_diverged(n))
        return ChatReply(step.message, step.model, step.finish, step.usage, step.response_id)

    def _outcome_of(self, n: int, tool: str, step: Step) -> ToolOutcome:
        if not isinstance(step, ToolStep) or step.tool != tool:
            raise PermanentError(_diverged(n))
        if step.is_error:
            return ToolRefused(code=step.value or "tool", message=step.content)
        return ToolResult(value=step.value, content=step.content)

    async def _call_tool(
        self, n: int, call_id: str, tool: str, arguments: dict[str, Any]
    ) -> ToolOutcome:
        await self._lease.ensure()
        spec = await self._services.directory.find(tool)
        started = self._services.clock()
        outcome: ToolOutcome | None = self._not_callable(tool, spec)
        if outcome is None:
            call = CallTool(
                tool=tool,
                key=self._key(n),
                tenant=self.tenant,
                arguments=arguments,
                deadline=started + (spec.timeout if spec else 30.0),
            )
            outcome = _within_limit(await self._services.caller.call(call))
        step = ToolStep(
            task=self._task,
            n=n,
            call_id=call_id,
            tool=tool,
            content=outcome.message if isinstance(outcome, ToolRefused) else outcome.content,
            value=outcome.code if isinstance(outcome, ToolRefused) else outcome.value,
            is_error=isinstance(outcome, ToolRefused),
            latency_s=round(self._services.clock() - started, 4),
        )
        stands = await self._services.facts.write(self._address, step)
        return self._outcome_of(n, tool, self._journaled(step, stands.fact if stands else None))

    def _not_callable(self, tool: str, spec: ToolSpec | None) -> ToolRefused | None:
        """Why a call cannot even be sent. A tool that the plan names may come back: it is sent."""
        task = self.ready.task
        if self.ready.job_tools is not None and tool not in self.ready.job_tools:
            return ToolRefused(code="not_allowed", message=f"this job may not call {tool[:64]!r}")
        planned = {task.tool, *(task.tools or ()), *(self.ready.job_tools or ())}
        if is_id(tool) and (spec is not None or tool in planned):
            return None
        there = ", ".join(self._services.directory.specs()) or "none"
        return ToolRefused(
            code="not_found", message=f"there is no tool {tool[:64]!r}; there are: {there}"
        )

    async def _write(self, fact: AnyFact) -> None:
        try:
            stands = await self._services.facts.write(self._address, fact)
            if stands is not None and stands.fact != fact:
                # A dead attempt's write arrived late: the next attempt reads it first.
                self._refused = TransientError(f"another attempt has written {stands.name}")
        except PermanentError as error:
            self._refused = error
        finally:
            self._writing -= 1
            self._idle.set()


def _within_limit(outcome: ToolOutcome) -> ToolOutcome:
    size = len(encode(outcome))
    if size <= MAX_RESULT:
        return outcome
    return ToolRefused(
        code="too_large",
        message=f"the result has {size} bytes, over the limit of {MAX_RESULT}: ask for less",
    )


def _diverged(n: int) -> str:
    return (
        f"step {n} is another one than the journal holds: the agent's code has changed while the"
        " task was running"
    )
