"""One tool call, as the next step of a task.

allowed? ─▶ leave wanted (by the job, by the tool)? ─▶ asked, the task is parked ─▶ decided
    ─▶ sent to a tool worker ─┬─ result, refusal: journaled
                              ├─ it wants leave first: as above, then sent again
                              └─ in doubt: a person is asked; has it happened, that is the
                                 result, else the call is begun anew as the next round; a result
                                 that its slow worker has journaled meanwhile is the truth
"""

from typing import Any

from galerne.core.asks import EVERY_EFFECT, arguments_hash
from galerne.errors import InDoubtError, PermanentError
from galerne.faults import reach
from galerne.messages.codec import encode
from galerne.messages.facts import Decided, Ready, Step, ToolStep
from galerne.messages.ids import is_id
from galerne.messages.subjects import JobAddress
from galerne.messages.tools import (
    CallTool,
    NeedsApproval,
    ToolOutcome,
    ToolRefused,
    ToolResult,
    ToolSpec,
)
from galerne.runtime.journal import Journal, diverged
from galerne.runtime.lease import Lease
from galerne.runtime.questions import Questions
from galerne.runtime.services import Services
from galerne.runtime.tool_journal import late_result

UNKNOWN_TIMEOUT = 30.0
"""Seconds for a call of a tool that is not there to say how long it takes."""


class ToolSteps:
    """Calls tools for one task's attempt."""

    def __init__(
        self,
        services: Services,
        address: JobAddress,
        ready: Ready,
        lease: Lease,
        journal: Journal,
        questions: Questions,
    ) -> None:
        self._services = services
        self._address = address
        self._ready = ready
        self._lease = lease
        self._journal = journal
        self._questions = questions

    async def call(self, n: int, call_id: str, tool: str, arguments: dict[str, Any]) -> ToolOutcome:
        """The outcome of step `n`, from the journal or from a tool worker. Raises ParkedError."""
        known = self._journal.step(n)
        if known is not None:
            return _outcome_of(n, tool, known)
        large = self._services.large
        arguments = await large.arguments(self._address, arguments)
        await self._lease.ensure()
        spec = await self._services.directory.find(tool)
        started = self._services.clock()
        refusal = self._not_callable(tool, spec) or await large.refusal(self._address, arguments)
        outcome = refusal or await self._stored(await self._perform(n, tool, arguments, spec))
        step = ToolStep(
            task=self._ready.task.id,
            n=n,
            call_id=call_id,
            tool=tool,
            content=outcome.message if isinstance(outcome, ToolRefused) else outcome.content,
            value=outcome.code if isinstance(outcome, ToolRefused) else outcome.value,
            is_error=isinstance(outcome, ToolRefused),
            latency_s=round(self._services.clock() - started, 4),
        )
        return _outcome_of(n, tool, await self._journal.add(step))

    async def _stored(self, outcome: ToolOutcome) -> ToolOutcome:
        """As a step can hold it: workers in other languages send what fits a message."""
        try:
            return await self._services.large.result(self._address, outcome)
        except PermanentError as error:
            return ToolRefused(code=error.code, message=f"the result cannot be stored: {error}")

    async def _perform(
        self, n: int, tool: str, arguments: dict[str, Any], spec: ToolSpec | None
    ) -> ToolOutcome:
        doubts = self._questions.settled_doubts(n)
        if doubts and doubts[-1].verdict != "not_happened":
            return await self._settled(n, tool, doubts)
        approved: str | None = None
        if self._wants_leave(tool, spec):
            denied = await self._leave(n, tool, arguments, "")
            if denied is not None:
                return denied
            approved = arguments_hash(tool, arguments)
        while True:
            reply = await self._send(n, tool, arguments, spec, approved, len(doubts))
            if not isinstance(reply, NeedsApproval):
                break
            if approved is not None:
                return ToolRefused(
                    code="denied", message=f"{tool} does not take the leave that a person gave"
                )
            denied = await self._leave(n, tool, arguments, reply.why)
            if denied is not None:
                return denied
            approved = arguments_hash(tool, arguments)
        if isinstance(reply, ToolRefused) and reply.code == InDoubtError.code:
            decided = await self._questions.doubt(n, tool, arguments, reply.message)
            return await self._settled(n, tool, [*doubts, decided])
        return reply

    async def _settled(self, n: int, tool: str, doubts: list[Decided]) -> ToolOutcome:
        """The outcome of a call whose last doubt is settled and which is not begun anew."""
        decided = doubts[-1]
        if decided.value is None:  # its worker may have been slow only, and knows more
            key = self._key(n)
            bus, tenant = self._services.bus, self._address.tenant
            late = await late_result(bus, tenant, key, len(doubts))
            if late is not None:
                return late
        return _as_settled(tool, decided)

    def _key(self, n: int) -> str:
        return f"{self._address.job}.{self._ready.task.id}.{n}"

    async def _send(
        self,
        n: int,
        tool: str,
        arguments: dict[str, Any],
        spec: ToolSpec | None,
        approved: str | None,
        round_: int,
    ) -> ToolOutcome | NeedsApproval:
        timeout = spec.timeout if spec else UNKNOWN_TIMEOUT
        call = CallTool(
            tool=tool,
            key=self._key(n),
            tenant=self._address.tenant,
            arguments=arguments,
            deadline=self._services.clock() + timeout,
            approved=approved,
            round=round_,
        )
        reply = await self._services.caller.call(call)
        reach("tool.answered")
        return reply

    def _wants_leave(self, tool: str, spec: ToolSpec | None) -> bool:
        listed = self._ready.job_approve
        has_effect = spec is None or spec.effect != "pure"
        by_job = tool in listed or (EVERY_EFFECT in listed and has_effect)
        return by_job or (spec is not None and spec.approve == "always")

    async def _leave(
        self, n: int, tool: str, arguments: dict[str, Any], why: str
    ) -> ToolRefused | None:
        """None where a person has agreed; else what the model reads. Raises ParkedError."""
        decided = await self._questions.approval(n, tool, arguments, why)
        if decided.verdict == "approved":
            return None
        if decided.verdict == "expired":
            return ToolRefused(code="denied", message=f"nobody gave leave to call {tool} in time")
        reason = f": {decided.why}" if decided.why else ""
        return ToolRefused(code="denied", message=f"a person refused this call of {tool}{reason}")

    def _not_callable(self, tool: str, spec: ToolSpec | None) -> ToolRefused | None:
        """Why a call cannot even be sent. A tool that the plan names may come back: it is sent."""
        task, allowed = self._ready.task, self._ready.job_tools
        if allowed is not None and tool not in allowed:
            return ToolRefused(code="not_allowed", message=f"this job may not call {tool[:64]!r}")
        planned = {task.tool, *(task.tools or ()), *(allowed or ())}
        if is_id(tool) and (spec is not None or tool in planned):
            return None
        there = ", ".join(self._services.directory.specs()) or "none"
        return ToolRefused(
            code="not_found", message=f"there is no tool {tool[:64]!r}; there are: {there}"
        )


def _as_settled(tool: str, decided: Decided) -> ToolOutcome:
    """What a person says has happened, as the call's outcome."""
    if decided.verdict == "happened":
        if decided.value is None:
            return ToolResult(value=None, content=f"{tool} was done; its result is not known")
        value = decided.value
        content = value if isinstance(value, str) else encode(value).decode()
        return ToolResult(value=value, content=content)
    return ToolRefused(code="denied", message=f"nobody knows whether {tool} was done")


def _outcome_of(n: int, tool: str, step: Step) -> ToolOutcome:
    if not isinstance(step, ToolStep) or step.tool != tool:
        raise PermanentError(diverged(n))
    if step.is_error:
        return ToolRefused(code=step.value or "tool", message=step.content)
    return ToolResult(value=step.value, content=step.content)
