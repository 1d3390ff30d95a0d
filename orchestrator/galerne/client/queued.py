"""Jobs that are accepted and not admitted yet: they stand in the SUBMIT queue and in no log.

A coordinator writes `submitted` before it takes the message off the queue, so an accepted job is
always in the log, in the queue, or in both. Looking into the log, then the queue, then the log
again finds it wherever it is just then.
"""

import base64

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog
from galerne.errors import InvalidMessageError, NotFoundError
from galerne.messages.codec import decode_submit
from galerne.messages.ids import job_id_of_key
from galerne.messages.requests import Submit
from galerne.messages.subjects import JobAddress


async def require(bus: Bus, address: JobAddress) -> Submit | None:
    """The request of a job that still waits, None for one that is in the log.

    Raises NotFoundError where nobody ever submitted it, TransientError.
    """
    log = FactLog(bus)
    if await log.last(address, "submitted") is not None:
        return None
    waiting = await _in_queue(bus, address)
    if waiting is None and await log.last(address, "submitted") is None:
        raise NotFoundError(
            f"there is no job {address.job} of tenant {address.tenant}"
            " (`galerne jobs` lists those that there are; another tenant's: --tenant NAME)"
        )
    return waiting


async def _in_queue(bus: Bus, address: JobAddress) -> Submit | None:
    """Go through the tenant's backlog, one message a read."""
    stream, subject = bus.subjects.stream("SUBMIT"), bus.subjects.submit(address.tenant)
    sequence = 1
    while True:
        question = {"seq": sequence, "next_by_subj": subject}
        try:
            answer = await bus.api(f"STREAM.MSG.GET.{stream}", question)
        except NotFoundError:
            return None
        message = answer["message"]
        found = _is_job(address, base64.b64decode(message.get("data", "")))
        if found is not None:
            return found
        sequence = int(message["seq"]) + 1


def _is_job(address: JobAddress, data: bytes) -> Submit | None:
    try:
        request = decode_submit(data)
    except InvalidMessageError:  # the coordinator quarantines it
        return None
    job = request.job
    if job is None and request.key is not None:
        job = job_id_of_key(address.tenant, request.key)
    return request if job == address.job else None
