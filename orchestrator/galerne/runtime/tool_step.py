"""One tool call, as the next step of a task.

known? ─▶ the version that the task was told, if it is served; else it is told the new one
allowed? ─▶ leave wanted (by the job, by the tool)? ─▶ asked, the task is parked ─▶ decided
    ─▶ sent to a tool worker ─┬─ result, refusal: journaled
                              ├─ it wants leave first: as above, then sent again
                              ├─ under way for long: the task's place is another's meanwhile
                              └─ in doubt: a person is asked; has it happened, that is the
                                 result, else the call is begun anew as the next round; a result
                                 that its slow worker has journaled meanwhile is the truth
"""

from collections.abc import Iterable
from typing import Any

from galerne.core.asks import arguments_hash
from galerne.core.leave import as_settled, changed, denial, not_callable, wants_leave
from galerne.core.refusals import bounded
from galerne.core.steps import outcome_of, tool_step
from galerne.errors import InDoubtError, PermanentError, UnavailableError
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
from galerne.runtime.long_call import LongCall
from galerne.runtime.places import Place
from galerne.runtime.questions import Questions
from galerne.runtime.services import Services
from galerne.runtime.tool_directory import nobody_serves
from galerne.runtime.tool_journal import late_result


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
        place: Place,
    ) -> None:
        self._services = services
        self._address = address
        self._ready = ready
        self._lease = lease
        self._journal = journal
        self._questions = questions
        self._place = place
        self._told: dict[str, ToolSpec] = {}

    def told(self, specs: Iterable[ToolSpec]) -> None:
        """The task has seen these: its calls are made for them."""
        self._told.update({spec.name: spec for spec in specs})

    async def call(self, n: int, call_id: str, tool: str, arguments: dict[str, Any]) -> ToolOutcome:
        """The outcome of step `n`, from the journal or from a tool worker. Raises ParkedError."""
        known = self._journal.step(n)
        if known is not None:
            return outcome_of(n, tool, known)
        large = self._services.large
        arguments = await large.arguments(self._address, arguments)
        await self._lease.ensure()
        started = self._services.clock()
        outcome = await self._settled_before(n, tool) or await large.refusal(
            self._address, arguments
        )
        if outcome is None:
            version = await self._version(tool)
            if isinstance(version, ToolSpec):
                outcome = await self._stored(await self._perform(n, arguments, version))
            else:
                outcome = version
        latency = self._services.clock() - started
        step = tool_step(self._ready.task.id, n, call_id, tool, outcome, latency)
        return outcome_of(n, tool, await self._journal.add(step))

    async def _version(self, tool: str) -> ToolSpec | ToolRefused:
        """The version that is called; or why none can be. One that restarts is waited for.

        Raises UnavailableError where nobody serves a tool that the plan or the job names.
        """
        directory = self._services.directory
        told = self._told.get(tool)
        spec = await (directory.find(tool) if told is None else directory.find_again(told))
        refusal = not_callable(self._ready, tool, spec, directory.specs())
        if refusal is not None:
            return refusal
        if spec is None:
            raise UnavailableError(nobody_serves(tool))
        self.told([spec])
        return spec if told is None or spec.route == told.route else changed(spec)

    async def _stored(self, outcome: ToolOutcome) -> ToolOutcome:
        """As a step can hold it: workers in other languages send what fits a message."""
        try:
            return await self._services.large.result(self._address, outcome)
        except PermanentError as error:
            return ToolRefused(code=error.code, message=f"the result cannot be stored: {error}")

    async def _settled_before(self, n: int, tool: str) -> ToolOutcome | None:
        """What people have said of the call's effect, unless it is to be begun anew."""
        doubts = self._questions.settled_doubts(n)
        if doubts and doubts[-1].verdict != "not_happened":
            return await self._stored(await self._settled(n, tool, doubts))
        return None

    async def _perform(self, n: int, arguments: dict[str, Any], spec: ToolSpec) -> ToolOutcome:
        tool, doubts = spec.name, self._questions.settled_doubts(n)
        approved: str | None = None
        if wants_leave(self._ready, tool, spec):
            denied = await self._leave(n, tool, arguments, "")
            if denied is not None:
                return denied
            approved = arguments_hash(tool, arguments)
        while True:
            reply = await self._send(n, arguments, spec, approved, len(doubts))
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
                return bounded(late)
        return as_settled(tool, decided)

    def _key(self, n: int) -> str:
        return f"{self._address.job}.{self._ready.task.id}.{n}"

    async def _send(
        self,
        n: int,
        arguments: dict[str, Any],
        spec: ToolSpec,
        approved: str | None,
        round_: int,
    ) -> ToolOutcome | NeedsApproval:
        call = CallTool(
            tool=spec.name,
            key=self._key(n),
            tenant=self._address.tenant,
            arguments=arguments,
            deadline=self._services.clock() + spec.timeout,
            approved=approved,
            round=round_,
        )
        waiting = LongCall(self._services, self._address, self._ready.task.id, self._place, n, spec)
        try:
            reply = await self._services.caller.call(call, spec.route, waiting.heard)
        finally:
            await waiting.over()
        reach("tool.answered")
        return reply

    async def _leave(
        self, n: int, tool: str, arguments: dict[str, Any], why: str
    ) -> ToolRefused | None:
        """None where a person has agreed; else what the model reads. Raises ParkedError."""
        decided = await self._questions.approval(n, tool, arguments, why)
        return denial(tool, decided)
