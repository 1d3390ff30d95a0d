"""Looking whether the queue still holds what it was given (`core.lost`)."""

from galerne.bus import store
from galerne.bus.connection import Bus
from galerne.core.lost import queued_anew, to_be_queued
from galerne.core.state import JobState
from galerne.errors import GalerneError
from galerne.logs import get_logger
from galerne.messages.facts import Ready
from galerne.messages.ids import TaskId
from galerne.messages.subjects import JobAddress

log = get_logger("galerne.runtime.lost")


async def lost_of(bus: Bus, address: JobAddress, state: JobState) -> list[Ready]:
    """What queues a job's lost tasks anew; nothing where the queue cannot be asked just now."""
    if not to_be_queued(state):
        return []
    subjects = bus.subjects
    mine = subjects.task("*", "*", address.tenant, f"{address.job}.*")
    try:
        queue = await store.subject_counts(bus, subjects.stream("TASKS"), mine)
    except GalerneError as error:
        log.debug("the queue could not be looked at", job=address.job, error=str(error))
        return []
    return queued_anew(state, {TaskId(subject.rpartition(".")[2]) for subject in queue})
