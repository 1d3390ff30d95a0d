"""One job, seen from outside.

A `Job` is a name, not a state: every answer is read from the log when it is asked for. It may be
made for a job that was submitted by somebody else, on another machine, or last week.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from importlib.metadata import version
from typing import Any

import msgspec

from galerne.bus.connection import Bus
from galerne.bus.job_blobs import JobBlobs
from galerne.bus.log import FactLog
from galerne.client import queued
from galerne.client.asking import decide
from galerne.client.blobs import received
from galerne.client.events import JobEvents, readable
from galerne.client.export import export_lines
from galerne.client.patience import patiently
from galerne.client.purge import purge_job
from galerne.core.asks import call_name
from galerne.core.failure import failure
from galerne.core.fold import fold
from galerne.core.given import REVIEW
from galerne.core.open_question import OpenQuestion, Word, open_question
from galerne.core.state import JobState
from galerne.core.view import JobView, view
from galerne.core.written import written_plan
from galerne.errors import JobFailedError, NotFoundError, PermanentError, UnavailableError
from galerne.messages.blobs import to_blob
from galerne.messages.codec import encode
from galerne.messages.facts import Decided, Ended, Verdict
from galerne.messages.ids import JobId, TaskId, TenantId
from galerne.messages.requests import Cancel, Submit
from galerne.tools import BlobFile


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

    def events(self, after: int = 0, *, deltas: bool = False, progress: bool = False) -> JobEvents:
        """The job's facts from sequence `after` + 1 to its end; with `deltas` also what models
        are saying meanwhile, with `progress` how far tools are, which nobody stores.

        The iteration survives restarts of the server. It raises NotFoundError for an unknown job.
        """
        return JobEvents(
            self._bus,
            self._address,
            after=after,
            deltas=deltas,
            progress=progress,
            check=self._existence(),
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

        What is too large for a message comes as a `BlobFile`: `save_to`, `open` or `read` it.
        Numbers in it that no tool has said are named in `(await job.wait()).unsupported`.
        Raises JobFailedError where it failed, was cancelled or ran out of its budget or its time,
        NotFoundError.
        """
        ended = await self.wait()
        if ended.status != "succeeded":
            raise JobFailedError(failure(f"job {self.id}", ended, "(await job.view()).result"))
        return received(self._bus, self.tenant, self.id, ended.result)

    async def output(self, task: str | None = None) -> Any:
        """The result of a task, or of the job, as it is in the log now; large ones as `result`.

        Raises NotFoundError where there is none yet, or no such job.
        """
        view = await self.view()
        if task is None:
            found, value = view.status not in {"queued", "running"}, view.result
        else:
            values = {one.id: one.result for one in view.tasks if one.status == "succeeded"}
            found, value = task in values, values.get(TaskId(task))
        if not found or (task is None and value is None):
            what = f"task {task} of job {self.id}" if task else f"job {self.id}"
            raise NotFoundError(f"{what} has no result (`galerne show {self.id}` says how it is)")
        return received(self._bus, self.tenant, self.id, value)

    def file(self, value: Any) -> BlobFile:
        """The content for which a part of a result stands. Raises InvalidMessageError."""
        return BlobFile(to_blob(value), JobBlobs(self._bus, self.tenant, self.id))

    async def asks(self) -> list[OpenQuestion]:
        """What waits for a person, oldest first. Raises NotFoundError, UnavailableError."""
        return [open_question(self.id, ask) for ask in (await self.view()).asks]

    async def approve(self, call: str, *, by: str = "", hash: str | None = None) -> Decided:  # noqa: A002 - as `OpenQuestion` has it
        """Give leave for the call that `call` names, as `OpenQuestion.call` has it.

        With `hash` (`OpenQuestion.hash`) the leave is for exactly those arguments. What is given
        back stands; look at its `verdict` and `by`, as another's word may have been first. Raises
        NotFoundError where there is no such question, InvalidInputError where the word does not
        fit it, PermanentError where the job is over, DeadlineError where no coordinator has taken
        it yet (it is stored).
        """
        return await self.decide(call, "approved", by=by, hash=hash)

    async def deny(self, call: str, why: str = "", *, by: str = "") -> Decided:
        """Refuse the call, or the answer; the model reads `why`. Otherwise as `approve`."""
        return await self.decide(call, "denied", why=why, by=by)

    async def answer(self, call: str, value: Any, *, by: str = "") -> Decided:
        """Answer an `ask` task with a JSON value that fits its schema. Otherwise as `approve`."""
        return await self.decide(call, "answered", value=value, by=by)

    async def review(self, plan: object = None, *, by: str = "") -> Decided:
        """Agree to the plan of a job that waits for its review, or give another one in its place.

        `plan` is a list of tasks, or an object with `tasks`. `deny("plan-1")` refuses it, and the
        job fails. Otherwise as `approve`.
        """
        if plan is None:
            return await self.decide(call_name(*REVIEW[:2]), "approved", by=by)
        tasks = msgspec.to_builtins(written_plan(plan))
        return await self.decide(call_name(*REVIEW[:2]), "answered", value={"tasks": tasks}, by=by)

    async def resolve(
        self, call: str, *, happened: bool, result: Any = None, by: str = ""
    ) -> Decided:
        """Say whether an effect in doubt has happened, and with which `result` if that is known.

        What has not happened is begun anew. Otherwise as `approve`.
        """
        verdict: Verdict = "happened" if happened else "not_happened"
        return await self.decide(call, verdict, value=result, by=by)

    async def decide(
        self,
        call: str,
        verdict: Verdict,
        *,
        value: Any = None,
        why: str = "",
        by: str = "",
        hash: str | None = None,  # noqa: A002 - as `OpenQuestion` has it
    ) -> Decided:
        """Say a person's word on a question; the other methods are its forms."""
        await patiently(self._bus, self._require)
        word = Word(verdict, value, why, by)
        return await decide(self._bus, self._address, call, word, hash)

    async def cancel(self, why: str = "cancelled by its user") -> None:
        """Ask the coordinators to stop the job; the request is durable when this returns.

        Cancelling a cancelled job changes nothing. Raises PermanentError for a job that ended in
        another way, NotFoundError for an unknown one.
        """
        await patiently(self._bus, lambda: self._cancel(why))

    def export(self) -> AsyncGenerator[bytes]:
        """Every fact of the job as the lines of a file (`client.export`), in large pieces.

        Raises NotFoundError where the log has nothing of it, UnavailableError.
        """
        return export_lines(self._bus, self._address, time.time(), version("galerne"))

    async def purge(self) -> None:
        """Take everything of the job away; it has to be over, and its id may be used again.

        Raises PermanentError for one that is not over, NotFoundError for an unknown one.
        """
        await patiently(self._bus, lambda: purge_job(self._bus, self._address))

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
