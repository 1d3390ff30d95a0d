"""One tool call, as the next step of a task.

allowed? ─▶ leave wanted (by the job, by the tool)? ─▶ asked, the task is parked ─▶ decided
    ─▶ sent to a tool worker ─┬─ result, refusal: journaled
                              ├─ it wants leave first: as above, then sent again
                              └─ in doubt: a person is asked; has it happened, that is the
                                 result, else the call is begun anew as the next round; a result
                                 that its slow worker has journaled meanwhile is the truth
"""

from typing import Any

from galerne.core.asks import arguments_hash
from galerne.core.leave import as_settled, denial, not_callable, wants_leave
from galerne.core.steps import outcome_of, tool_step
from galerne.errors import InDoubtError, PermanentError
from galerne.faults import reach
from galerne.messages.facts import Decided, Ready
from galerne.messages.subjects import JobAddress
from galerne.messages.tools import (
    CallTool,
    NeedsApproval,
    ToolOutcome,
    ToolRefused,
    ToolSpec,
)
from galerne.runtime.journal import Journal
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
            return outcome_of(n, tool, known)
        large = self._services.large
        arguments = await large.arguments(self._address, arguments)
        await self._lease.ensure()
        spec = await self._services.directory.find(tool)
        started = self._services.clock()
        served = self._services.directory.specs()
        refusal = not_callable(self._ready, tool, spec, served)
        refusal = refusal or await large.refusal(self._address, arguments)
        outcome = refusal or await self._stored(await self._perform(n, tool, arguments, spec))
        latency = self._services.clock() - started
        step = tool_step(self._ready.task.id, n, call_id, tool, outcome, latency)
        return outcome_of(n, tool, await self._journal.add(step))

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
        if wants_leave(self._ready, tool, spec):
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
        return as_settled(tool, decided)

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

    async def _leave(
        self, n: int, tool: str, arguments: dict[str, Any], why: str
    ) -> ToolRefused | None:
        """None where a person has agreed; else what the model reads. Raises ParkedError."""
        decided = await self._questions.approval(n, tool, arguments, why)
        return denial(tool, decided)
