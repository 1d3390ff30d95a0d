"""Write-once messages of a stream: the one rule under facts, claims and the tool journal.

A write says that its subject must be empty. If it is not, the subject's last message is read from
the stream's leader: with our own message id it was our write whose acknowledgement was lost;
otherwise somebody was first and that message stands.
"""

import base64
from datetime import datetime

import anyio
import msgspec

from galerne.bus.connection import Bus
from galerne.bus.mapping import ConflictError
from galerne.errors import NotFoundError, TransientError
from galerne.logs import get_logger

log = get_logger("galerne.bus.store")


SUSPICIOUS = 8.0
"""Seconds without a stored write after which somebody should look; a restart takes fewer."""
OVERLAP = 1000
"""Names that two pages of subjects have in common."""


class Stored(msgspec.Struct, frozen=True):
    """A message as the stream holds it; `at` is Unix seconds."""

    subject: str
    data: bytes
    sequence: int
    at: float
    message_id: str | None = None


async def write_once(
    bus: Bus, stream: str, subject: str, data: bytes, message_id: str
) -> Stored | None:
    """Write, trying again while the server is away. None: ours is there; else what stands.

    Raises PermanentError (too large, refused by the server) and nothing transient.
    """
    delay = 0.05
    begun = anyio.current_time()
    warned = False
    while True:
        try:
            return await _write(bus, stream, subject, data, message_id)
        except TransientError as error:
            if not warned and anyio.current_time() - begun > SUSPICIOUS:
                warned = True
                log.warning(
                    "the NATS server stores nothing: is it running, and has its disk room?",
                    stream=stream,
                    error=str(error),
                )
        await anyio.sleep(delay)
        delay = min(delay * 2, 1.0)


async def _write(
    bus: Bus, stream: str, subject: str, data: bytes, message_id: str
) -> Stored | None:
    try:
        await bus.publish(subject, data, message_id=message_id, expected=0)
    except ConflictError:
        found = await last(bus, stream, subject)
        if found is None:  # purged between the two: whatever it belonged to is gone
            raise
        return None if found.message_id == message_id else found
    return None


async def append(bus: Bus, stream: str, subject: str, data: bytes, expected: int) -> int:
    """Append to a subject whose last sequence is `expected` (0: none). Gives the new sequence.

    Raises ConflictError where another was first, TransientError.
    """
    message_id = bus.new_message_id()
    try:
        return await bus.publish(subject, data, message_id=message_id, expected=expected)
    except ConflictError:
        found = await last(bus, stream, subject)
        if found is not None and found.message_id == message_id:
            return found.sequence
        raise


async def last(bus: Bus, stream: str, subject: str) -> Stored | None:
    """The last message of a subject, from the leader. Raises TransientError."""
    try:
        answer = await bus.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
    except NotFoundError:
        return None
    message = answer["message"]
    headers = base64.b64decode(message.get("hdrs", "")).decode("utf-8", "replace")
    return Stored(
        message["subject"],
        base64.b64decode(message.get("data", "")),
        int(message["seq"]),
        unix_time(message["time"]),
        _header(headers, "Nats-Msg-Id"),
    )


async def subject_counts(bus: Bus, stream: str, subjects: str) -> dict[str, int]:
    """Each subject under one with wildcards → the number of its messages, without their bodies.

    The server sorts the names and gives a page of them at a time. Pages overlap, so that none is
    missed where some before it are deleted meanwhile. Raises TransientError.
    """
    counts: dict[str, int] = {}
    offset = 0
    while True:
        body = {"subjects_filter": subjects, "offset": offset}
        info = await bus.api(f"STREAM.INFO.{stream}", body)
        page: dict[str, int] = info["state"].get("subjects") or {}
        counts |= page
        end = offset + len(page)
        if not page or end >= int(info.get("total", 0)):
            return counts
        offset = max(offset + 1, end - OVERLAP)


async def last_sequence(bus: Bus, stream: str) -> int:
    """Of the last message that a stream has ever stored; 0: none yet. Raises TransientError."""
    info = await bus.api(f"STREAM.INFO.{stream}")
    return int(info["state"]["last_seq"])


def unix_time(stamp: str) -> float:
    """RFC 3339 with nanoseconds → Unix seconds."""
    head, _, rest = stamp.rstrip("Z").partition(".")
    seconds = datetime.fromisoformat(f"{head}+00:00").timestamp()
    return seconds + (float(f"0.{rest}") if rest else 0.0)


def _header(block: str, name: str) -> str | None:
    for line in block.split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == name.lower():
            return value.strip()
    return None
