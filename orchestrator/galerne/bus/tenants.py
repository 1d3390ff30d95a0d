"""What the server knows of tenants: who has requests, whose consumers are there, whose turn is due.

    request ─▶ its tenant's subject of SUBMIT ─▶ delivered: the job is in progress, and its request
    stays unacknowledged ─▶ the job is over: `redeem` its ticket, and the next one is delivered

The server itself counts what a tenant's consumer has not acknowledged, so the quota holds across
all coordinators, exactly, and needs no bookkeeping of theirs.
"""

import base64
from typing import Any

import msgspec

from galerne.bus.connection import Bus
from galerne.bus.topology import lane_of
from galerne.errors import NotFoundError, PermanentError, TransientError
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.facts import PRIORITIES, Lane, Priority
from galerne.messages.ids import TenantId

log = get_logger("galerne.bus.tenants")

NEWS = "tenants"
"""The role under whose presence subject it is said that the consumers have changed."""
SHORT_TICKET = 9
"""Tokens of an acknowledgement subject without domain and account."""


class Waiting(msgspec.Struct, frozen=True):
    """A request as it stands in the queue."""

    sequence: int
    subject: str
    data: bytes


async def with_requests(bus: Bus) -> dict[str, int]:
    """Last token of a subject of SUBMIT → its requests, waiting or in progress."""
    stream = bus.subjects.stream("SUBMIT")
    subjects: dict[str, int] = {}
    while True:
        body = {"subjects_filter": bus.subjects.submit(), "offset": len(subjects)}
        info = await bus.api(f"STREAM.INFO.{stream}", body)
        found: dict[str, int] = info["state"].get("subjects") or {}
        subjects |= found
        if not found or len(subjects) >= int(info.get("total", 0)):
            return {subject.rpartition(".")[2]: count for subject, count in subjects.items()}


async def consumer_names(bus: Bus, stream: str) -> set[str]:
    """Of every durable consumer of a stream, given as in `Subjects.stream`."""
    names: set[str] = set()
    while True:
        page = await bus.api(f"CONSUMER.NAMES.{stream}", {"offset": len(names)})
        found: list[str] = page.get("consumers") or []
        names.update(found)
        if not found or len(names) >= int(page["total"]):
            return names


async def lanes(bus: Bus, lane: Lane) -> set[tuple[Priority, TenantId]]:
    """Priority and tenant of each queue of a lane."""
    named = map(lane_of, await consumer_names(bus, bus.subjects.stream("TASKS")))
    places = {(place[1], place[2]) for place in named if place is not None and place[0] == lane}
    return {(one, TenantId(who)) for one in PRIORITIES for urgency, who in places if urgency == one}


async def news(bus: Bus) -> None:
    """Tell the workers to look at once; one that misses it looks soon. Raises TransientError."""
    await bus.send(bus.subjects.presence(NEWS), b"")


async def has_work(bus: Bus, tenant: TenantId) -> bool:
    """Whether a request or a task of a tenant is queued or under way. Raises TransientError."""
    subjects = bus.subjects
    for stream, subject in (
        ("SUBMIT", subjects.submit(tenant)),
        ("TASKS", subjects.task("*", "*", tenant)),
    ):
        body = {"subjects_filter": subject}
        info = await bus.api(f"STREAM.INFO.{subjects.stream(stream)}", body)
        if info["state"].get("subjects"):
            return True
    return False


async def next_request(bus: Bus, tenant: TenantId | None, after: int) -> Waiting | None:
    """The first request beyond a sequence; None for any tenant's, and commands with them.

    Raises TransientError.
    """
    # the server's index passes over a subject whose last token is a literal `>`
    subject = ">" if tenant is None else bus.subjects.submit(tenant)
    question = {"seq": after + 1, "next_by_subj": subject}
    try:
        answer = await bus.api(f"STREAM.MSG.GET.{bus.subjects.stream('SUBMIT')}", question)
    except NotFoundError:
        return None
    found: dict[str, Any] = answer["message"]
    data = base64.b64decode(found.get("data", ""))
    return Waiting(int(found["seq"]), str(found["subject"]), data)


async def remove_request(bus: Bus, sequence: int) -> None:
    """Take a request off the queue that no consumer delivers. Raises TransientError."""
    body = {"seq": sequence, "no_erase": True}
    try:
        await bus.api(f"STREAM.MSG.DELETE.{bus.subjects.stream('SUBMIT')}", body)
    except PermanentError as error:  # another coordinator was first
        log.debug("a request is gone already", sequence=sequence, error=str(error))


def request_of(ticket: str | None, stream: str) -> int | None:
    """The sequence of the request that a ticket acknowledges; None where it is no ticket.

    A ticket comes from the log, where anybody may write who may write facts; what is no
    acknowledgement of this stream must not be published to.
    """
    tokens = (ticket or "").split(".")
    place = tokens[2:] if len(tokens) == SHORT_TICKET else tokens[4:]
    if tokens[:2] != ["$JS", "ACK"] or len(place) < 4 or place[0] != stream:  # noqa: PLR2004 - stream, consumer, deliveries, sequence
        return None
    return int(place[3]) if place[3].isdecimal() else None


async def redeem(bus: Bus, ticket: str | None) -> None:
    """Acknowledge the request of a job that is over, so that its tenant's next one may begin.

    One that gets lost is made up for when the request is delivered again.
    """
    if ticket is None or request_of(ticket, bus.subjects.stream("SUBMIT")) is None:
        return
    reach("ack.*.before", lambda: "submit")
    try:
        await bus.send(ticket, b"+ACK")
    except TransientError as error:
        log.debug("an acknowledgement was lost", error=str(error))
    reach("ack.*.after", lambda: "submit")
