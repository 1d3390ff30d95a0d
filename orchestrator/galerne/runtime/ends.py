"""Hearing at once that a job is over: its cancel or its end, live, confirmed from the log.

Anybody may say anything on a live subject, so nothing is stopped before the log says the same. A
live word may be missed, so whoever works for long looks into the log now and then (`is_over`).
"""

from collections.abc import Awaitable, Callable

from galerne.bus.connection import Bus, Message
from galerne.bus.log import FactLog
from galerne.errors import InvalidInputError, TransientError
from galerne.logs import get_logger
from galerne.messages.ids import JobId, TaskId, TenantId, check_id
from galerne.messages.subjects import JobAddress

log = get_logger("galerne.runtime.ends")

OVER = ("cancel", "end")
"""The facts after which nothing of a job is worth doing any more."""


async def listen_for_ends(
    bus: Bus, concerns: Callable[[JobAddress], bool], stop: Callable[[JobAddress], Awaitable[None]]
) -> None:
    """From now on, call `stop` for each job that is over and that `concerns` this process."""
    facts = FactLog(bus)

    async def on_end(message: Message) -> None:
        tenant, job = message.subject.split(".")[-3:-1]
        try:
            check_id(job, "the job's id")
            address = bus.subjects.address(TenantId(check_id(tenant, "the tenant")), JobId(job))
        except InvalidInputError:
            return
        if concerns(address) and await is_over(facts, address):
            log.debug("a job is over", job=job)
            await stop(address)

    for name in OVER:
        await bus.subscribe(bus.subjects.live("*", "*", name), on_end)


async def listen_for_drops(
    bus: Bus,
    concerns: Callable[[JobAddress, TaskId], bool],
    stop: Callable[[JobAddress, TaskId], None],
) -> None:
    """From now on, call `stop` for each task that its job does without and that `concerns` this."""
    facts = FactLog(bus)

    async def on_drop(message: Message) -> None:
        tenant, job, _, task = message.subject.split(".")[-4:]
        try:
            check_id(job, "the job's id")
            address = bus.subjects.address(TenantId(check_id(tenant, "the tenant")), JobId(job))
            dropped = TaskId(check_id(task, "the task's id"))
        except InvalidInputError:
            return
        if concerns(address, dropped) and await is_settled(facts, address, dropped):
            log.debug("a task is dropped", job=job, task=task)
            stop(address, dropped)

    await bus.subscribe(bus.subjects.live("*", "*", "dropped.*"), on_drop)


async def is_settled(facts: FactLog, address: JobAddress, task: TaskId) -> bool:
    """Whether a task has an outcome already; no, where the log cannot be read."""
    try:
        return await facts.last(address, f"done.{task}") is not None
    except TransientError as error:
        log.debug("nobody knows whether a task is settled", error=str(error))
        return False


async def is_over(facts: FactLog, address: JobAddress) -> bool:
    """Whether the log says so; no, where it cannot be read."""
    try:
        for name in OVER:
            if await facts.last(address, name) is not None:
                return True
    except TransientError as error:
        log.debug("nobody knows whether a job is over", error=str(error))
    return False
