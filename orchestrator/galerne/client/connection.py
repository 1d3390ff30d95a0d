"""A connection to a fleet, and what may be asked of it.

async with Client.connect("nats://127.0.0.1:4222") as client:
    job = await client.submit("Count the words in README.md")
    print(await job.result())
"""

import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
import msgspec

from galerne.bus.connection import Bus, connect
from galerne.bus.log import FactLog
from galerne.client.asking import open_of_tenant
from galerne.client.blobs import stand_ins, uploaded
from galerne.client.job import Job
from galerne.client.patience import patiently
from galerne.client.purge import purge_ended
from galerne.client.quarantine import Quarantine
from galerne.client.served import served_tools, tool_workers
from galerne.client.sessions import Session, SessionSummary
from galerne.client.sessions import summaries as session_summaries
from galerne.client.summary import JobSummary, summaries
from galerne.core.open_question import OpenQuestion
from galerne.errors import (
    BusyError,
    InvalidInputError,
    InvalidSettingsError,
    PermanentError,
    TransientError,
)
from galerne.messages.facts import Priority
from galerne.messages.ids import DEFAULT_TENANT, JobId, TenantId, check_id
from galerne.messages.plan import Budget
from galerne.messages.tools import ToolSpec, ToolsPresent
from galerne.request import build, deadline_of, encoded, job_id
from galerne.settings import BusSettings, without_login

_LOOK = 1.0
"""Seconds to find out how the fleet's log is laid out; who may not ask goes on without."""


class Client:
    """Submits jobs of one tenant and follows them; made by `Client.connect`."""

    def __init__(self, bus: Bus, tenant: TenantId) -> None:
        self._bus = bus
        self._tenant = tenant

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str | None = None,
        *,
        tenant: str = DEFAULT_TENANT,
        settings: BusSettings | None = None,
    ) -> AsyncGenerator[Self]:
        """Connect to the NATS server at `url` for as long as the context lasts.

        Without `url` the settings' server counts, then `GALERNE_SERVER`. Raises UnavailableError
        where no server answers, InvalidInputError for a bad tenant, InvalidSettingsError where
        the fleet there was set up with another number of partitions.
        """
        settings = settings or BusSettings()
        server = url or settings.server or os.environ.get("GALERNE_SERVER")
        settings = msgspec.structs.replace(settings, server=server)
        tenant_id = TenantId(check_id(tenant, "the tenant"))
        async with connect(settings, "galerne client") as bus:
            await _check_partitions(bus)
            yield cls(bus, tenant_id)

    async def tools(self, patience: float = 0.4) -> dict[str, ToolSpec]:
        """The tools that are served now, by name: of the workers that answer within `patience`
        seconds. A fleet whose operator keeps its workers private shows none.

        Raises UnavailableError.
        """
        return await served_tools(self._bus, patience)

    async def tool_workers(self, patience: float = 0.4) -> list[ToolsPresent]:
        """The tool workers that answer within `patience` seconds, by name: what each serves, how
        many calls it takes at once and how many it is at. Raises UnavailableError.
        """
        return await tool_workers(self._bus, patience)

    async def submit(
        self,
        goal: str,
        *,
        key: str | None = None,
        job: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        tools: Sequence[str] | None = None,
        priority: Priority = "normal",
        budget: Budget | None = None,
        deadline: float | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the job's time, not this call's
        approve: Sequence[str] = (),
        plan: object = None,
        review: bool = False,
        output: Mapping[str, Any] | None = None,
        session: str | None = None,
        revisions: int | None = None,
    ) -> Job:
        """Hand a job over; when this returns it is stored and will be done.

        The job's id is `job`, else it follows from the idempotency `key`, else it is new. The
        same id again is the same job, whatever else is given with it. `tools` limits what the
        job may call. `budget` is what it may spend; `deadline` (Unix seconds) or `timeout`
        (seconds from now) is when it has to be over. `approve` names the tools whose calls wait
        for a person's word; `*` is every tool that has an effect. With a `plan` (a `Plan`, a list
        of tasks, or an object with `tasks`) no planner is asked; with `review` the plan waits for
        `job.review`. `output` is the JSON Schema of the result (None: text), `session` the
        conversation that the job belongs to, and `revisions` how often its plan may be revised
        after failures (None: as the fleet is set up). Among the `inputs` a Path is a file, which
        is uploaded first; so is what is too large for a message. Raises InvalidInputError,
        TooLargeError, BusyError where the tenant's backlog is full,
        UnavailableError.
        """
        name = job_id(self._tenant, job, key)
        request = build(
            name,
            goal,
            key=key,
            inputs=stand_ins(inputs or {}, self._bus.settings),
            tools=tools,
            priority=priority,
            budget=budget,
            deadline=deadline_of(deadline, timeout, time.time()),
            approve=approve,
            plan=plan,
            review=review,
            output=output,
            session=session,
            revisions=revisions,
        )
        message_id = f"{self._tenant}.{name}"
        room = self._bus.settings.max_payload
        encoded(request, len(message_id) + 32, room)  # so that nothing is uploaded in vain
        sent = await uploaded(self._bus, self._tenant, name, inputs or {})
        request = msgspec.structs.replace(request, inputs=sent)
        data = encoded(request, len(message_id) + 32, room)
        subject = self._bus.subjects.submit(self._tenant)
        try:
            await patiently(
                self._bus, lambda: self._bus.publish(subject, data, message_id=message_id)
            )
        except BusyError as error:
            raise BusyError(
                f"backlog full: tenant {self._tenant} has as many jobs waiting as the fleet"
                f" takes; try again when some have started ({error})"
            ) from error
        return Job(self._bus, self._tenant, name, accepted=True)

    def job(self, job: str) -> Job:
        """A job by its id; whether it exists shows when it is asked something."""
        return Job(self._bus, self._tenant, JobId(check_id(job, "the job id")))

    async def approvals(self) -> list[OpenQuestion]:
        """What waits for a person in the tenant's running jobs, oldest first.

        `job(one.job).approve(one.call)` settles one. Raises UnavailableError.
        """
        return await patiently(self._bus, lambda: open_of_tenant(self._bus, self._tenant))

    def session(self, name: str) -> Session:
        """A conversation by its name; whether it exists shows when it is asked something.

        Raises InvalidInputError for a name that no session can have.
        """
        return Session(self._bus, self._tenant, check_id(name, "the session"))

    async def sessions(self) -> list[SessionSummary]:
        """The tenant's conversations, the latest first. Raises UnavailableError."""
        return await patiently(self._bus, lambda: session_summaries(self._bus, self._tenant))

    @property
    def quarantine(self) -> Quarantine:
        """What nobody could use, of all tenants."""
        return Quarantine(self._bus)

    async def purge(self, older_than: float) -> int:
        """Purge the tenant's jobs that ended more than so many seconds ago; gives their number.

        Raises UnavailableError.
        """
        return await purge_ended(self._bus, self._tenant, time.time() - older_than)

    async def jobs(self, limit: int = 50) -> list[JobSummary]:
        """The tenant's admitted jobs, newest first. Raises UnavailableError."""
        if limit < 1:
            raise InvalidInputError(f"limit is {limit}: ask for one job at least")
        log, subjects = FactLog(self._bus), self._bus.subjects

        async def read() -> list[JobSummary]:
            submitted = await log.read(subjects.events(tenant=self._tenant, rest="submitted"))
            oldest = min((record.sequence for record in submitted[-limit:]), default=0)
            ended = await log.read(subjects.events(tenant=self._tenant, rest="end"), oldest)
            waiting = await open_of_tenant(self._bus, self._tenant)
            asks = Counter(one.job for one in waiting)
            return summaries(submitted, ended, time.time(), limit, asks)

        return await patiently(self._bus, read)


async def _check_partitions(bus: Bus) -> None:
    """A log looked for in the wrong part would seem empty for ever. Raises InvalidSettingsError."""
    with anyio.move_on_after(_LOOK):
        try:
            info = await bus.api(f"STREAM.INFO.{bus.subjects.stream('EVENTS')}")
        except (TransientError, PermanentError):
            return
        metadata: dict[str, str] = info["config"].get("metadata") or {}
        has = metadata.get("galerne.partitions", str(bus.subjects.partitions))
        if has != str(bus.subjects.partitions):
            server = without_login(bus.settings.server or "")
            raise InvalidSettingsError(
                f"the fleet on {server} has {has} partitions and the settings say"
                f" {bus.subjects.partitions}: set bus.partitions = {has}"
            )
