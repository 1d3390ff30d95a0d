"""From the SUBMIT stream into the log: jobs become `submitted`, commands become facts.

    message ──▶ decoded ──▶ checked ──▶ `submitted`, and it comes again later ◀─┐ still in progress
                   │           │                                           └────────┘
                   │           │                                 └─ over: acknowledged
                   │           └─ a bad goal, tool or size ─▶ `end`, which says why
                   ├─ unusable ─▶ quarantine, and `end` where its job can still be told
                   └─ delivered too often without an answer: it kills who reads it ─▶ the same

The request of a job in progress is not acknowledged before the job is over, by whoever ends it, so
that the server counts a tenant's jobs in progress (`bus.tenants`). It comes again now and then,
which makes up for lost acknowledgements and dead coordinators.

A refusal never ends a job that was admitted before, and a refused id stays refused.
"""

from collections.abc import Awaitable, Callable
from typing import NoReturn

import anyio

from galerne.bus.connection import Bus
from galerne.bus.job_blobs import JobBlobs
from galerne.bus.log import FactLog, Record
from galerne.bus.mapping import ConflictError
from galerne.bus.queue import Delivery
from galerne.bus.tenants import request_of
from galerne.client import queued
from galerne.core.words import check_word
from galerne.errors import (
    InvalidInputError,
    InvalidMessageError,
    NotFoundError,
    PermanentError,
    TransientError,
)
from galerne.logs import get_logger
from galerne.messages.codec import decode_command, decode_submit
from galerne.messages.facts import Asked, Cancelled, Decided, Ended, Submitted
from galerne.messages.ids import JobId, TaskId, TenantId, check_id
from galerne.messages.plan import Usage
from galerne.messages.requests import Cancel, Decide, Submit
from galerne.messages.subjects import JobAddress
from galerne.runtime.quarantine import Quarantine
from galerne.runtime.sessions import with_history
from galerne.runtime.submissions import checked, job_in, job_of, why_unusable

log = get_logger("galerne.runtime.admission")

DEADLY = 10
"""Deliveries without an answer after which a message counts as one that kills who reads it."""
AGAIN = 6
"""Times `ack_wait` after which the request of a job in progress is looked at again: a minute."""


class Admission:
    """Handles what the consumers of the SUBMIT stream deliver; `ack_wait` is theirs, in seconds.

    `revisions` is how often a job's plan may be revised that does not say so itself.
    """

    def __init__(
        self,
        bus: Bus,
        facts: FactLog,
        quarantine: Quarantine,
        clock: Callable[[], float],
        ack_wait: float,
        revisions: int,
    ) -> None:
        self._bus = bus
        self._facts = facts
        self._quarantine = quarantine
        self._clock = clock
        self._ack_wait = ack_wait
        self._revisions = revisions
        self._handled: set[Delivery] = set()

    async def admit(self, delivery: Delivery) -> None:
        """One submit message: acknowledged, or kept until its job is over."""
        if await self._settle(delivery, self._admit):
            delivery.retry(AGAIN * self._ack_wait)
        else:
            delivery.ack()

    async def command(self, delivery: Delivery) -> None:
        """One command, to its acknowledgement."""
        await self._settle(delivery, self._command)
        delivery.ack()

    async def keep(self) -> None:
        """Say of what takes its time that it is being worked on, until cancelled.

        So a message that is delivered again and again has met dying coordinators, not a slow bus.
        """
        while True:
            before = set(self._handled)
            await anyio.sleep(self._ack_wait / 3)
            for delivery in before & self._handled:
                delivery.keep()

    async def put_aside(self, subject: str, data: bytes, *, unless_readable: bool = False) -> bool:
        """Quarantine a message, and refuse its job where that can be told; gives whether it was.

        Raises TransientError where it cannot be kept.
        """
        try:
            await self._decoded(data, self._tenant(subject))
        except PermanentError as error:
            await self._quarantine.put(subject, data, str(error))
            return True
        if not unless_readable:
            await self._quarantine.put(subject, data, "it names no tenant")
        return not unless_readable

    async def _settle(
        self, delivery: Delivery, handle: Callable[[Delivery], Awaitable[bool]]
    ) -> bool:
        """What `handle` says; waits while the bus cannot take it; quarantines what is unusable."""
        self._handled.add(delivery)
        try:
            while True:
                try:
                    return await self._handle(delivery, handle)
                except TransientError as error:
                    log.debug("a request waits for the bus", error=str(error))
                    await anyio.sleep(error.retry_after or 1.0)
        finally:
            self._handled.discard(delivery)

    async def _handle(
        self, delivery: Delivery, handle: Callable[[Delivery], Awaitable[bool]]
    ) -> bool:
        try:
            return await handle(delivery)
        except PermanentError as error:
            await self._quarantine.put(delivery.subject, delivery.data, str(error))
            return False

    async def _admit(self, delivery: Delivery) -> bool:
        """Whether its job is in progress."""
        tenant = self._tenant(delivery.subject)
        if delivery.delivered > DEADLY and not await self._is_admitted(delivery, tenant):
            await self._refuse_deadly(delivery, tenant)
        submit = await self._decoded(delivery.data, tenant)
        job = job_of(submit, tenant, self._revisions)
        address = self._address(tenant, job.id)
        if await self._facts.last(address, "end") is not None:
            log.info("already known: a job that is over", job=job.id)
            return False
        begun = Submitted(job=job, at=self._clock(), ticket=delivery.reply)
        try:
            checked(submit)
            await JobBlobs(self._bus, tenant, job.id).check(submit.inputs)
            begun = await with_history(self._bus, begun)
            stands = await self._facts.write(address, begun)
        except ConflictError as error:  # the job that stood there is being purged
            raise TransientError(f"job {job.id} is being purged: {error}") from error
        except PermanentError as error:
            await self._refuse(tenant, job.id, str(error))
            return False
        if stands is None:
            log.info("admitted", job=job.id, tenant=tenant)
            return True
        if stands.fact is None:
            why = f"its log begins with an unreadable message ({stands.error})"
            await self._refuse(tenant, job.id, why)
            return False
        if self._is_request(delivery, stands):
            return True
        log.info("already known: the same job", job=job.id)
        return False

    async def _is_admitted(self, delivery: Delivery, tenant: TenantId) -> bool:
        """Whether its job stands in the log, found without decoding what may be deadly."""
        job = job_in(delivery.data, tenant)
        if job is None:
            return False
        begun = await self._facts.last(self._address(tenant, job), "submitted")
        return begun is not None and self._is_request(delivery, begun)

    def _is_request(self, delivery: Delivery, begun: Record) -> bool:
        """Whether a job began with this very message, and not with another of the same job."""
        ticket = begun.fact.ticket if isinstance(begun.fact, Submitted) else None
        return request_of(ticket, self._bus.subjects.stream("SUBMIT")) == delivery.sequence

    async def _refuse_deadly(self, delivery: Delivery, tenant: TenantId) -> NoReturn:
        why = _never_acknowledged(delivery)
        job = job_in(delivery.data, tenant)
        if job is not None:
            await self._refuse(tenant, job, f"the job was refused: its request {why}")
        raise InvalidMessageError(f"it {why}")

    async def _decoded(self, data: bytes, tenant: TenantId) -> Submit:
        """Raises InvalidMessageError, after the job was refused where its id can be told."""
        try:
            return decode_submit(data)
        except InvalidMessageError as error:
            job = job_in(data, tenant)
            if job is not None:
                why = f"the job was refused: {why_unusable(str(error))}"
                await self._refuse(tenant, job, why)
            raise

    async def _refuse(self, tenant: TenantId, job: JobId, why: str) -> None:
        """End a job that never began, where its user looks for it; one that did stays as it is."""
        address = self._address(tenant, job)
        submitted = await self._facts.last(address, "submitted")
        if submitted is not None and submitted.fact is not None:
            log.warning("a bad repetition of a job is dropped", job=job, why=why)
            return
        ended = Ended(status="failed", usage=Usage(), at=self._clock(), error=why)
        await self._facts.write(address, ended)
        log.warning("refused", job=job, why=why)

    def _address(self, tenant: TenantId, job: JobId) -> JobAddress:
        return self._bus.subjects.address(tenant, job)

    async def _command(self, delivery: Delivery) -> bool:
        """Always False: nothing of a command is left once it is a fact."""
        if delivery.delivered > DEADLY:
            raise InvalidMessageError(f"it {_never_acknowledged(delivery)}")
        command = decode_command(delivery.data)
        job = JobId(check_id(command.job, "the job's id"))
        address = self._address(self._tenant(delivery.subject), job)
        waits = await queued.require(self._bus, address) is not None
        if await self._facts.last(address, "end") is not None:
            return False
        match command:
            case Cancel(why=why) if waits:  # it may wait for long, and is not to begin at all
                now = self._clock()
                ended = Ended(status="cancelled", usage=Usage(), at=now, error=why)
                await self._facts.write(address, ended)
                log.info("cancelled before it began", job=job)
            case Cancel(why=why):
                await self._facts.write(address, Cancelled(why=why, at=self._clock()))
                log.info("cancelled", job=job)
            case Decide():
                await self._decide(address, command)
        return False

    async def _decide(self, address: JobAddress, command: Decide) -> None:
        """A person's word, if it fits the question. Raises InvalidInputError, NotFoundError."""
        task = TaskId(check_id(command.task, "the task's id"))
        key = f"{task}.{command.n}.{command.round}"
        asked = await self._facts.last(address, f"ask.{key}")
        if asked is None or not isinstance(asked.fact, Asked):
            raise NotFoundError(f"job {address.job} has no question {key}")
        check_word(asked.fact, command.verdict, command.value, command.hash)
        decided = Decided(
            task=task,
            n=command.n,
            round=command.round,
            verdict=command.verdict,
            value=command.value,
            why=command.why,
            by=command.by,
            at=self._clock(),
        )
        stands = await self._facts.write(address, decided)
        if stands is not None:
            log.warning("already decided: the first word stands", job=address.job, question=key)
        else:
            log.info("decided", job=address.job, question=key, verdict=command.verdict)

    def _tenant(self, subject: str) -> TenantId:
        tenant = subject.rpartition(".")[2]
        try:
            return TenantId(check_id(tenant, "the tenant"))
        except InvalidInputError as error:
            raise InvalidMessageError(str(error)) from error


def _never_acknowledged(delivery: Delivery) -> str:
    return f"was delivered {delivery.delivered} times and never acknowledged"
