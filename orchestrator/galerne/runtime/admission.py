"""From the SUBMIT stream into the log: jobs become `submitted`, commands become facts."""

from collections.abc import Awaitable, Callable

import structlog

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog
from galerne.bus.queue import Delivery
from galerne.errors import (
    InvalidInputError,
    InvalidMessageError,
    NotFoundError,
    PermanentError,
    TransientError,
)
from galerne.messages.codec import decode_command, decode_submit
from galerne.messages.facts import Cancelled, Ended, JobSpec, Submitted
from galerne.messages.ids import JobId, TenantId, check_id, job_id_of_key
from galerne.messages.plan import Usage
from galerne.messages.requests import Submit
from galerne.runtime.quarantine import Quarantine

log = structlog.stdlib.get_logger("galerne.runtime.admission")

UNADMITTED = 20
"""Deliveries of a command for a job that is not in the log yet: it may still be queued."""


def job_of(submit: Submit, tenant: TenantId) -> JobSpec:
    """The job that a message asks for. Raises InvalidInputError with what to change."""
    if submit.job is not None:
        job = JobId(check_id(submit.job, "the job's id"))
    elif submit.key is not None:
        job = job_id_of_key(tenant, submit.key)
    else:
        raise InvalidInputError("neither `job` nor `key` is given: the job would have no id")
    return JobSpec(
        id=job,
        tenant=tenant,
        goal=submit.goal,
        key=submit.key,
        inputs=submit.inputs,
        tools=submit.tools,
        priority=submit.priority,
    )


class Admission:
    """Handles deliveries of the two consumers of the SUBMIT stream."""

    def __init__(
        self, bus: Bus, facts: FactLog, quarantine: Quarantine, clock: Callable[[], float]
    ) -> None:
        self._bus = bus
        self._facts = facts
        self._quarantine = quarantine
        self._clock = clock

    async def admit(self, delivery: Delivery) -> None:
        """One submit message, to its acknowledgement."""
        await self._settle(delivery, self._admit)

    async def command(self, delivery: Delivery) -> None:
        """One command, to its acknowledgement."""
        await self._settle(delivery, self._command)

    async def _settle(
        self, delivery: Delivery, handle: Callable[[Delivery], Awaitable[None]]
    ) -> None:
        """What cannot be used is quarantined; what the bus could not take comes again."""
        try:
            try:
                await handle(delivery)
            except PermanentError as error:
                await self._quarantine.put(delivery.subject, delivery.data, str(error))
            await delivery.ack()
        except TransientError as error:
            await delivery.retry(error.retry_after or 1.0)

    async def _admit(self, delivery: Delivery) -> None:
        job = job_of(decode_submit(delivery.data), self._tenant(delivery))
        address = self._bus.subjects.address(job.tenant, job.id)
        if not job.goal.strip():
            await self._refuse(job, "the goal is empty: say what is to be done")
            return
        try:
            stands = await self._facts.write(address, Submitted(job=job, at=self._clock()))
        except PermanentError as error:
            await self._refuse(job, str(error))
            return
        if stands is None:
            log.info("admitted", job=job.id, tenant=job.tenant)
        elif stands.fact is None:
            await self._refuse(job, f"its log begins with an unreadable message ({stands.error})")
        else:
            log.info("already known: the same job", job=job.id)

    async def _refuse(self, job: JobSpec, why: str) -> None:
        """End a job that never began, where its user looks for it."""
        ended = Ended(status="failed", usage=Usage(), at=self._clock(), error=why)
        await self._facts.write(self._bus.subjects.address(job.tenant, job.id), ended)
        log.warning("refused", job=job.id, why=why)

    async def _command(self, delivery: Delivery) -> None:
        command = decode_command(delivery.data)
        job = JobId(check_id(command.job, "the job's id"))
        address = self._bus.subjects.address(self._tenant(delivery), job)
        if await self._facts.last(address, "submitted") is None:
            if delivery.delivered < UNADMITTED:
                raise TransientError(f"job {job} is not admitted yet", retry_after=0.25)
            raise NotFoundError(f"there is no job {job}")
        if await self._facts.last(address, "end") is None:
            await self._facts.write(address, Cancelled(why=command.why, at=self._clock()))
            log.info("cancelled", job=job)

    def _tenant(self, delivery: Delivery) -> TenantId:
        tenant = delivery.subject.rpartition(".")[2]
        try:
            return TenantId(check_id(tenant, "the tenant"))
        except InvalidInputError as error:
            raise InvalidMessageError(str(error)) from error
