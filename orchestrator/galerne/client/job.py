"""One job, seen from outside.

A `Job` is a name, not a state: every answer is read from the log when it is asked for. It may be
made for a job that was submitted by somebody else, on another machine, or last week.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog
from galerne.client import queued
from galerne.client.events import JobEvents, readable
from galerne.client.patience import patiently
from galerne.core.state import JobState, fold
from galerne.core.view import JobView, view
from galerne.errors import JobFailedError, PermanentError, UnavailableError
from galerne.messages.codec import encode
from galerne.messages.facts import Ended
from galerne.messages.ids import JobId, TenantId
from galerne.messages.requests import Cancel, Submit


class Job:
    """A job; made by `Client.submit` and `Client.job`."""

    def __init__(self, bus: Bus, tenant: TenantId, job: JobId, *, accepted: bool = False) -> None:
        """`accepted` says that the server has the job, so that nobody needs to look for it."""
        self._bus = bus
        self._address = bus.subjects.address(tenant, job)
        self._accepted = accepted

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    @property
    def id(self) -> JobId:
        return self._address.job

    @property
    def tenant(self) -> TenantId:
        return self._address.tenant

    async def view(self) -> JobView:
        """Everything that is known about the job now; `queued` until a coordinator has it.

        Raises NotFoundError for an unknown job, UnavailableError.
        """
        return await patiently(self._bus, self._view)

    async def _view(self) -> JobView:
        state = JobState()
        records = await FactLog(self._bus).read_job(self._address)
        for record in records:
            fact = readable(record)
            if fact is not None:
                fold(state, fact, record.at)
        now = time.time()
        seen = view(state, self.id, self.tenant, now)
        if records:
            return seen
        request = await self._require()
        return msgspec.structs.replace(seen, goal=request.goal) if request else seen

    def events(self, after: int = 0, *, deltas: bool = False) -> JobEvents:
        """The job's facts from sequence `after` + 1 to its end; with `deltas` also what models
        are saying meanwhile, which nobody stores.

        The iteration survives restarts of the server. It raises NotFoundError for an unknown job.
        """
        return JobEvents(
            self._bus, self._address, after=after, deltas=deltas, check=self._existence()
        )

    async def wait(self) -> Ended:
        """Wait until the job has ended, however it did. Raises NotFoundError."""
        ends = JobEvents(self._bus, self._address, rest="end", check=self._existence())
        try:
            async for event in ends:
                if isinstance(event.fact, Ended):
                    return event.fact
        finally:
            await ends.aclose()
        raise UnavailableError(f"job {self.id}: its end in the log cannot be read")

    async def result(self) -> Any:
        """Wait for the job and give its result: for a goal in words, the answer's text.

        Raises JobFailedError where it failed or was cancelled, NotFoundError.
        """
        ended = await self.wait()
        if ended.status != "succeeded":
            raise JobFailedError(
                f"job {self.id} {_how(ended.status)}: {ended.error or 'no reason given'}"
            )
        return ended.result

    async def cancel(self, why: str = "cancelled by its user") -> None:
        """Ask the coordinators to stop the job; the request is durable when this returns.

        Cancelling a cancelled job changes nothing. Raises PermanentError for a job that ended in
        another way, NotFoundError for an unknown one.
        """
        await patiently(self._bus, lambda: self._cancel(why))

    async def _cancel(self, why: str) -> None:
        end = await FactLog(self._bus).last(self._address, "end")
        fact = readable(end) if end is not None else None
        if isinstance(fact, Ended):
            if fact.status == "cancelled":
                return
            raise PermanentError(f"job {self.id} cannot be cancelled: it has {fact.status}")
        await self._require()
        await self._bus.publish(
            self._bus.subjects.command(self.tenant),
            encode(Cancel(job=self.id, why=why)),
            message_id=f"cancel.{self.tenant}.{self.id}",
        )

    async def _require(self) -> Submit | None:
        """The request of a job that waits for admission. Raises NotFoundError for an unknown."""
        if self._accepted:
            return None
        request = await queued.require(self._bus, self._address)
        self._accepted = True
        return request

    def _existence(self) -> Callable[[], Awaitable[Submit | None]] | None:
        return None if self._accepted else self._require


def _how(status: str) -> str:
    return "was cancelled" if status == "cancelled" else status
