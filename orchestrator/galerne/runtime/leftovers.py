"""What a job leaves in the lanes when nobody wants it any more: taken away, and its workers told.

A dropped task may be queued, or run on any worker. Its outcome stands in the log first; then its
message is purged, and a live word stops who is at it (`ends.listen_for_drops`). Whoever misses that
word finds the outcome when they renew their lease.
"""

from collections.abc import Iterable

from galerne.bus.connection import Bus
from galerne.errors import TransientError
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.facts import AnyFact, Done
from galerne.messages.ids import TaskId
from galerne.messages.plan import DROPPED, Failed
from galerne.messages.subjects import JobAddress

log = get_logger("galerne.runtime.leftovers")


def dropped_in(facts: Iterable[AnyFact]) -> list[TaskId]:
    """The tasks that these facts stop."""
    return [
        fact.task
        for fact in facts
        if isinstance(fact, Done)
        and isinstance(fact.outcome, Failed)
        and fact.outcome.code == DROPPED
    ]


class Leftovers:
    """Takes messages of lanes away."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def of_job(self, address: JobAddress) -> None:
        """All that is queued of a job."""
        reach("purge.before")
        await self._purge(address, ">")
        reach("purge.after")

    async def of_tasks(self, address: JobAddress, tasks: Iterable[TaskId]) -> None:
        """Of tasks that have been dropped; who runs one is told to stop."""
        for task in tasks:
            await self._purge(address, task)
            try:
                subject = self._bus.subjects.live(address.tenant, address.job, f"dropped.{task}")
                await self._bus.send(subject, b"")
            except TransientError as error:  # they find out by themselves
                log.debug("nobody is told of a dropped task", error=str(error))

    async def _purge(self, address: JobAddress, rest: str) -> None:
        subjects = self._bus.subjects
        subject = subjects.task("*", "*", address.tenant, f"{address.job}.{rest}")
        try:
            await self._bus.api(f"STREAM.PURGE.{subjects.stream('TASKS')}", {"filter": subject})
        except TransientError as error:  # workers hear of the end anyway
            log.debug("queued tasks stay until a worker sees them", error=str(error))
