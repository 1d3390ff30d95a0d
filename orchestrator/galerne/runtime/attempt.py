"""One attempt at a task: what an agent sees of the runtime (`agent.TaskContext`).

Steps are numbered from 1. On a takeover the journal holds the first of them: those return at
once, and the first missing one is really done (`model_step`, `tool_step`). An agent that waits for
a person raises ParkedError on the way; its next attempt finds the answer beside the journal.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import anyio

from galerne.errors import GalerneError, TooLongError, TransientError, UnavailableError
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import AnyFact, Moved, Planned, Ready
from galerne.messages.ids import JobId, TenantId
from galerne.messages.plan import Usage
from galerne.messages.subjects import JobAddress, planned_names
from galerne.messages.tools import ToolOutcome, ToolSpec
from galerne.planner.prompts import Prompts
from galerne.runtime.journal import Journal
from galerne.runtime.lease import Lease
from galerne.runtime.model_step import ModelSteps
from galerne.runtime.moves import Moves
from galerne.runtime.places import Place
from galerne.runtime.questions import Questions
from galerne.runtime.services import Services
from galerne.runtime.tool_directory import NO_WORKER, nobody_serves
from galerne.runtime.tool_step import ToolSteps


class Attempt:
    """An `agent.TaskContext`. Nothing of it runs beside the agent, so nothing outlives it."""

    def __init__(
        self,
        services: Services,
        address: JobAddress,
        ready: Ready,
        lease: Lease,
        ask_timeout: float,
        place: Place,
    ) -> None:
        self.ready = ready
        self._services = services
        self._address = address
        self._lease = lease
        task = ready.task.id
        self._journal = Journal(services, address, task)
        self._questions = Questions(services.facts, address, task, services.clock, ask_timeout)
        self._moves = Moves(services, address, task, lease)
        self._models = ModelSteps(services, address, ready, lease, self._journal, self._moves)
        self._tools = ToolSteps(
            services, address, ready, lease, self._journal, self._questions, place
        )
        self._step = 0
        self._refused: int | None = None
        """The last step, where its request was too long for the model."""
        self._writing = 0
        self._unwritten: dict[str, AnyFact] = {}
        """By message id: what was not stored when it was posted."""
        self._settled = anyio.Event()

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

    @property
    def prompts(self) -> Prompts:
        return self._services.prompts

    async def ask(
        self, request: ChatRequest, on_text: Callable[[str], None] | None = None
    ) -> ChatReply:
        step = self._next_step()
        self._refused = None
        try:
            self._moves.check_takes(step)
            return await self._models.ask(step, request, on_text)
        except TooLongError:
            self._refused = step
            raise

    async def move(self, reason: str) -> Moved | None:
        return await self._moves.move(reason, self._refused)

    async def start_above(self, reason: str) -> Moved | None:
        return await self._moves.start_above(reason, begun=self._journal.step(1) is not None)

    async def call(self, call_id: str, tool: str, arguments: dict[str, Any]) -> ToolOutcome:
        return await self._tools.call(self._next_step(), call_id, tool, arguments)

    async def tools(self) -> Sequence[ToolSpec]:
        specs = await self._services.directory.settled()
        allowed = self.ready.job_tools
        any_tool = self.ready.task.tools is None and allowed is None
        if any_tool and self._services.directory.lost_all():
            raise UnavailableError(NO_WORKER)  # a model that has no tools answers by guessing
        for name in self.ready.task.tools or ():  # served when it was planned: it will come back
            if allowed is not None and name not in allowed:
                continue
            if name not in specs and await self._services.directory.find(name) is None:
                raise UnavailableError(nobody_serves(name))
        specs = self._services.directory.specs()
        told = [spec for name, spec in specs.items() if allowed is None or name in allowed]
        self._tools.told(told)
        return told

    async def planned(self) -> Sequence[Planned]:
        if self.attempt == 1:
            return []
        subject = self._services.bus.subjects.job(self._address, planned_names(self.ready.task.id))
        records = await self._services.facts.read(subject)
        found = [record.fact for record in records if isinstance(record.fact, Planned)]
        return sorted(found, key=lambda planned: (planned.revision, planned.n))

    def write(self, fact: AnyFact) -> None:
        unwritten, self._unwritten = self._unwritten, {}
        for message_id, one in unwritten.items():
            self._post(message_id, one)
        self._post(self._services.facts.new_message_id(), fact)

    # what the worker needs

    async def load(self) -> None:
        """Read what earlier attempts have done and asked. Raises TransientError."""
        task, subjects = self.ready.task, self._services.bus.subjects
        asked = (f"ask.{task.id}.>", f"decided.{task.id}.>")
        if self.attempt > 1:
            await self._journal.load()
            await self._moves.load()
            await self._models.load()
        if self.attempt > 1 or task.approve:
            first, second = (subjects.job(self._address, rest) for rest in asked)
            await self._questions.load((first, second))

    async def written(self) -> None:
        """Wait until every `write` has arrived. Raises what is wrong with one that cannot."""
        while self._writing:
            self._settled = anyio.Event()
            await self._settled.wait()
        for message_id, fact in self._unwritten.items():
            stands = await self._services.facts.write(self._address, fact, message_id)
            if stands is not None and stands.fact != fact:
                # A dead attempt's write arrived late: the next attempt reads it first.
                raise TransientError(f"another attempt has written {stands.name}")

    def usage(self) -> Usage:
        return self._journal.usage()

    # the inside

    def _next_step(self) -> int:
        self._step += 1
        return self._step

    def _post(self, message_id: str, fact: AnyFact) -> None:
        self._writing += 1
        settle = partial(self._settle, message_id, fact)
        self._services.facts.post(self._address, fact, message_id, settle)

    def _settle(self, message_id: str, fact: AnyFact, error: GalerneError | None) -> None:
        self._writing -= 1
        if error is not None:
            self._unwritten[message_id] = fact
        self._settled.set()
