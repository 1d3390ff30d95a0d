"""Taking everything of a job that is over away: its log, its queue, its tool journal, its blobs.

    ended ─▶ its request, queued tasks ─▶ tool journal ─▶ blobs ─▶ all facts but the end ─▶ the end
       ▲                                                                        │
       └── broken off anywhere: the end still stands, so it is found again ─────┘

Every step may be repeated, by several at once. What is left afterwards is nothing: the job's id may
be used again, and is, perhaps, before the last of several has finished. So each step takes away
only what a stream held while the end still stood: a next job's messages come later.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from functools import partial

import anyio

from galerne.bus.blobs import Blobs
from galerne.bus.connection import Bus
from galerne.bus.log import FactLog, Record
from galerne.bus.store import Stored, last_sequence
from galerne.bus.tenants import redeem
from galerne.client.patience import patiently
from galerne.errors import (
    GalerneError,
    InvalidMessageError,
    NotFoundError,
    PermanentError,
    TransientError,
)
from galerne.messages.blobs import Bucket
from galerne.messages.facts import Submitted
from galerne.messages.ids import TenantId
from galerne.messages.subjects import JobAddress

AT_ONCE = 16
"""Facts that are deleted side by side."""
FEW = 32
"""Ends of one batch: each may carry a whole result."""


async def purge_job(bus: Bus, address: JobAddress) -> None:
    """Take a job that is over away.

    Raises PermanentError for one that is not over, NotFoundError for one of which the log has
    nothing, TransientError; it may be repeated.
    """
    log, subjects = FactLog(bus), bus.subjects
    end = await log.last(address, "end")
    if end is None:
        facts, _ = await log.batch(subjects.job(address))
        if not facts:
            raise NotFoundError(f"the log has nothing of job {address.job}: nothing to purge")
        raise PermanentError(f"job {address.job} is not over: cancel it first")
    tenant, job = address.tenant, address.job
    begun = await log.last(address, "submitted")
    old = await _old(bus, log, end, "TASKS", "TOOLJ")
    if old is None:
        return
    if begun is not None and isinstance(begun.fact, Submitted):
        await redeem(bus, begun.fact.ticket)  # else its request could come again as a new job
    await _purge(bus, "TASKS", subjects.task("*", "*", tenant, f"{job}.>"), old["TASKS"])
    await _purge(bus, "TOOLJ", subjects.tool_journals(tenant, job), old["TOOLJ"])
    if await log.holds(end.sequence):
        await _collect(bus, address)
    if old := await _old(bus, log, end, "EVENTS"):
        await _delete_facts(bus, log, address, old["EVENTS"])


async def _old(bus: Bus, log: FactLog, end: Record, *streams: str) -> dict[str, int] | None:
    """Up to which sequences the streams hold nothing of a next job of that id.

    None: another has finished, and the end is gone.
    """
    last = {name: await last_sequence(bus, bus.subjects.stream(name)) for name in streams}
    return last if await log.holds(end.sequence) else None


async def _delete_facts(bus: Bus, log: FactLog, address: JobAddress, upto: int) -> None:
    """One by one, as a purge by subject looks at every message of the whole stream; `end` last."""
    subject = bus.subjects.job(address)
    ends: list[int] = []
    after, more = 0, True
    while more and after < upto:
        batch, more = await log.batch(subject, after)
        after = batch[-1].sequence if batch else after
        stored = [one for one in batch if one.sequence <= upto]
        last = [one.sequence for one in stored if one.subject == bus.subjects.job(address, "end")]
        ends += last
        await _delete(bus, log, [one.sequence for one in stored if one.sequence not in last])
    await _delete(bus, log, ends)


async def _delete(bus: Bus, log: FactLog, sequences: list[int]) -> None:
    limiter = anyio.CapacityLimiter(AT_ONCE)
    problems: list[GalerneError] = []

    async def delete(sequence: int) -> None:
        body = {"seq": sequence, "no_erase": True}
        async with limiter:
            try:
                await bus.api(f"STREAM.MSG.DELETE.{bus.subjects.stream('EVENTS')}", body)
            except TransientError as error:
                problems.append(error)
            except PermanentError as error:
                if await log.holds(sequence):  # else another was first
                    problems.append(error)

    async with anyio.create_task_group() as tasks:
        for sequence in sequences:
            tasks.start_soon(delete, sequence)
    if problems:
        raise problems[0]


async def _purge(bus: Bus, stream: str, subject: str, upto: int) -> None:
    if upto:  # the server would take a limit below the second message for none
        body = {"filter": subject, "seq": upto + 1}
        await bus.api(f"STREAM.PURGE.{bus.subjects.stream(stream)}", body)


async def _collect(bus: Bus, address: JobAddress) -> None:
    """The job's blobs, if it has any: to collect them costs a look at those of every job."""
    bucket = Bucket(bus.subjects.stream("BLOBS"))
    chunks = bucket.chunks(f"{address.tenant}.{address.job}.>")
    with suppress(NotFoundError):  # a fleet of an older version has no store of blobs
        info = await bus.api(f"STREAM.INFO.{bucket.stream}", {"subjects_filter": chunks})
        if info["state"].get("subjects"):
            await Blobs(bus, 0).collect(address.tenant, address.job)


async def ended_jobs(
    bus: Bus, subject: str, before: float
) -> AsyncGenerator[tuple[JobAddress, Stored]]:
    """The jobs whose `end` under `subject` was stored before that Unix time, the oldest first.

    Each comes with its end. Raises UnavailableError.
    """
    async with aclosing(ends(bus, subject)) as found:
        async for address, end in found:
            if end.at > before:
                return
            yield address, end


async def ends(bus: Bus, subject: str) -> AsyncGenerator[tuple[JobAddress, Stored]]:
    """The jobs that have an `end` under `subject`, the oldest end first. Raises UnavailableError.

    They are read a few at a time, as most callers need the first ones only.
    """
    log, after, more = FactLog(bus), 0, True
    while more:
        stored, more = await patiently(bus, partial(log.batch, subject, after, FEW))
        for end in stored:
            after = end.sequence
            with suppress(InvalidMessageError):  # a subject that is no job's
                yield bus.subjects.parse_event(end.subject)[0], end


async def purge_gently(bus: Bus, address: JobAddress) -> None:
    """As `purge_job`, then rest as long as it took: the server has other things to do, too."""
    begun = anyio.current_time()
    await purge_job(bus, address)
    await anyio.sleep(anyio.current_time() - begun)


async def purge_ended(bus: Bus, tenant: TenantId, before: float) -> int:
    """Purge the tenant's jobs whose end was stored before that Unix time; gives their number.

    Raises UnavailableError.
    """
    count = 0
    subject = bus.subjects.events(tenant=tenant, rest="end")
    async with aclosing(ended_jobs(bus, subject, before)) as found:
        async for address, _ in found:
            with suppress(NotFoundError):  # a coordinator was first
                await patiently(bus, partial(purge_gently, bus, address))
                count += 1
    return count
