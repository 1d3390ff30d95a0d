"""What the server knows of tenants: who has requests, whose consumers are there, whose turn is due.

    request ─▶ its tenant's subject of SUBMIT ─▶ delivered: the job is in progress, and its request
    stays unacknowledged ─▶ the job is over: `redeem` its ticket, and the next one is delivered

The server itself counts what a tenant's consumer has not acknowledged, so the quota holds across
all coordinators, exactly, and needs no bookkeeping of theirs.
"""

import base64
import re
from typing import Any

import msgspec

from galerne.bus import store
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
_PLACE = r"[^\s.*>\x00-\x1f\x7f]{1,256}"
_NUMBER = r"[0-9]{1,20}"
_TICKET = re.compile(
    rf"\$JS\.ACK\.(?P<domain>{_PLACE}\.{_PLACE}\.)?(?P<stream>{_PLACE})\.{_PLACE}"
    rf"\.{_NUMBER}\.(?P<sequence>{_NUMBER})(?:\.{_NUMBER}){{3}}(?(domain)(?:\.{_PLACE})?)"
)
"""`$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<sequence>`, and then
`.<consumer sequence>.<ns>.<pending>[.<random>]`: one line, so that it can be sent as a subject."""


class Waiting(msgspec.Struct, frozen=True):
    """A request as it stands in the queue."""

    sequence: int
    subject: str
    data: bytes


async def with_requests(bus: Bus) -> dict[str, int]:
    """Last token of a subject of SUBMIT → its requests, waiting or in progress."""
    stream = bus.subjects.stream("SUBMIT")
    counts = await store.subject_counts(bus, stream, bus.subjects.submit())
    return {subject.rpartition(".")[2]: count for subject, count in counts.items()}


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
    found = _TICKET.fullmatch(ticket or "")
    if found is None or found["stream"] != stream:
        return None
    return int(found["sequence"])


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
