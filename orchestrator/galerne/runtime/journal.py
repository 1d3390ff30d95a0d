"""The steps of one task: those of earlier attempts, read back, and new ones, each written once.

    a model's answer   spool (local disk) ─▶ log     it is paid for
    a tool's result    log                           its own worker has journaled it

Whoever takes over publishes first what the spools of this host hold of the task. From another host
an earlier attempt's step may still arrive late, and come first: it stands, whoever takes over next
will read that one, so this attempt goes on with it too.
"""

import anyio

from galerne.bus.log import record_of
from galerne.bus.store import write_once
from galerne.core.usage import step_usage
from galerne.errors import PermanentError
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.codec import encode
from galerne.messages.facts import AnyFact, ModelStep, Step, ToolStep
from galerne.messages.ids import TaskId
from galerne.messages.plan import Usage
from galerne.messages.subjects import JobAddress
from galerne.runtime.services import Services
from galerne.runtime.spool import LAST_WRITE
from galerne.runtime.spools import Spooled

log = get_logger("galerne.runtime.journal")


class Journal:
    """One task's."""

    def __init__(self, services: Services, address: JobAddress, task: TaskId) -> None:
        self._services = services
        self._address = address
        self._task = task
        self._steps: dict[int, Step] = {}

    async def load(self) -> None:
        """Read the steps of earlier attempts. Raises TransientError."""
        await self._publish_spooled()
        subject = self._services.bus.subjects.job(self._address, f"step.{self._task}.*")
        for record in await self._services.facts.read(subject):
            if isinstance(record.fact, ModelStep | ToolStep):
                self._steps[record.fact.n] = record.fact

    async def _publish_spooled(self) -> None:
        steps = self._services.bus.subjects.job(self._address, f"step.{self._task}")
        for message in await self._services.spool.held_here(f"{steps}."):
            try:
                await self._publish(message)
            except PermanentError as error:  # the log will never take it: it is asked for again
                log.error("a paid result is lost", subject=message.subject, why=str(error))  # noqa: TRY400 - the sentence says it all

    def step(self, n: int) -> Step | None:
        return self._steps.get(n)

    def usage(self) -> Usage:
        total = Usage()
        for step in self._steps.values():
            total = total.plus(step_usage(step))
        return total

    async def add_paid(self, step: ModelStep) -> Step:
        """To the disk, then to the log; gives the step that stands."""
        bus = self._services.bus
        subject = bus.subjects.fact(self._address, step)
        message = Spooled(bus.new_message_id(), subject, encode(step))
        with anyio.CancelScope(shield=True):  # it is paid for: to the disk, whatever happens
            await self._services.spool.put(message)
        try:
            stands = await self._publish(message)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(LAST_WRITE, shield=True):  # whoever takes over needs it
                await self._publish(message)
            raise
        return self._keep(step, stands)

    async def add(self, step: ToolStep) -> Step:
        """To the log; gives the step that stands."""
        stands = await self._services.facts.write(self._address, step)
        return self._keep(step, stands.fact if stands else None)

    async def _publish(self, message: Spooled) -> AnyFact | None:
        """Publish it; gives the fact that stands in its place, where another was first."""
        bus = self._services.bus
        stream = bus.subjects.stream("EVENTS")
        reach("publish.model_step.before")
        try:
            stands = await write_once(bus, stream, message.subject, message.data, message.id)
        except PermanentError:
            self._services.spool.confirm(message.id)  # the next process could do no better
            raise
        reach("publish.model_step.after")
        self._services.spool.confirm(message.id)
        if stands is None:
            return None
        return record_of(bus.subjects, stands.subject, stands.data, stands.sequence, stands.at).fact

    def _keep(self, step: Step, stands: AnyFact | None) -> Step:
        if isinstance(stands, ModelStep | ToolStep):
            log.warning("an earlier attempt's step came first and stands", step=step.n)
            step = stands
        self._steps[step.n] = step
        return step
