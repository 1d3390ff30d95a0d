"""One attempt at a task: what an agent sees of the run (`agent.TaskContext`).

Steps are numbered from 1. Those that an earlier attempt has made return at once, exactly as in the
fleet, so an agent runs again from its beginning after a failure or a person's answer.
"""

from collections.abc import Callable, Sequence
from typing import Any

from galerne.errors import TransientError
from galerne.local.model_turns import ModelTurns
from galerne.local.tool_calls import ToolCalls
from galerne.local.work import Work
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import AnyFact, Moved, Planned, Ready
from galerne.messages.ids import JobId, TenantId, above, revision_of
from galerne.messages.subjects import fact_name
from galerne.messages.tools import ToolOutcome, ToolSpec
from galerne.planner.prompts import Prompts


class Attempt:
    """An `agent.TaskContext`. Nothing of it runs beside the agent, so nothing outlives it."""

    def __init__(
        self, work: Work, ready: Ready, attempt: int, on_answer: Callable[[], None]
    ) -> None:
        self.ready = ready
        self.attempt = attempt
        self._work = work
        self._models = ModelTurns(work, ready, attempt, on_answer)
        self._tools = ToolCalls(work, ready)
        self._step = 0
        self._unwritten: str | None = None
        """The name of a fact in whose place another one stands."""

    @property
    def job(self) -> JobId:
        return self._work.job.id

    @property
    def tenant(self) -> TenantId:
        return self._work.job.tenant

    @property
    def prompts(self) -> Prompts:
        return self._work.prompts

    async def ask(
        self, request: ChatRequest, on_text: Callable[[str], None] | None = None
    ) -> ChatReply:
        return await self._models.ask(self._next_step(), request, on_text)

    async def move(self, reason: str) -> Moved | None:
        return await self._models.move(reason)

    async def start_above(self, reason: str) -> Moved | None:
        return await self._models.start_above(reason)

    async def call(self, call_id: str, tool: str, arguments: dict[str, Any]) -> ToolOutcome:
        return await self._tools.call(self._next_step(), call_id, tool, arguments)

    async def tools(self) -> Sequence[ToolSpec]:
        allowed = self.ready.job_tools
        specs = {name: tool.spec for name, tool in self._work.tools.items()}
        return [spec for name, spec in specs.items() if allowed is None or name in allowed]

    async def planned(self) -> Sequence[Planned]:
        if self.attempt == 1:
            return []
        parent = above(self.ready.task.id)  # a nested plan has its own tasks
        planned = self._work.log.state.planned.values()
        revision = revision_of(self.ready.task.id) if parent is None else 1
        own = [one for one in planned if (one.parent, one.revision) == (parent, revision)]
        return sorted(own, key=lambda one: (one.revision, one.n))

    def write(self, fact: AnyFact) -> None:
        if self._work.log.write(fact) != fact:
            self._unwritten = fact_name(fact)

    def written(self) -> None:
        """Raises TransientError where another fact stands in the place of one that was written."""
        if self._unwritten is not None:
            raise TransientError(f"an earlier attempt has written {self._unwritten}")

    def _next_step(self) -> int:
        self._step += 1
        return self._step
