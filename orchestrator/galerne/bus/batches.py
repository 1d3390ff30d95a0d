"""Many messages of a stream in one question: a batch of direct reads, which any replica answers."""

import anyio
import msgspec

from galerne.bus import store
from galerne.bus.connection import Bus, Message
from galerne.errors import GalerneError, TransientError

BATCH = 256
"""Messages of one batch read."""


async def batch(
    bus: Bus, stream: str, subject: str, start: int, most: int = BATCH
) -> tuple[list[store.Stored], bool]:
    """The next messages from sequence `start` on, and whether there are more after them.

    `subject` may have wildcards; the stream's own name is given (`Subjects.stream`). Raises
    TransientError.
    """
    send, receive = anyio.create_memory_object_stream[Message | GalerneError](BATCH + 8)
    body = {"batch": most, "seq": start, "next_by_subj": subject}
    reply = bus.expect(send.send_nowait, send.send_nowait, bus.settings.request_timeout)
    found: list[store.Stored] = []
    try:
        with send, receive:
            await bus.send(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(body), reply=reply)
            async for message in receive:
                if not isinstance(message, Message):
                    raise message
                if "Nats-Sequence" not in message.headers:
                    return found, _has_more(message, subject) and bool(found)
                found.append(_as_stored(message))
    finally:
        bus.forget(reply)
    raise TransientError(f"reading {subject}: the answer broke off")


def _as_stored(message: Message) -> store.Stored:
    headers = message.headers
    return store.Stored(
        headers["Nats-Subject"],
        message.data,
        int(headers["Nats-Sequence"]),
        store.unix_time(headers["Nats-Time-Stamp"]),
    )


def _has_more(status: Message, subject: str) -> bool:
    """Read the message that closes a batch: 204 with a count, or 404 for nothing at all."""
    code = status.headers.get("Status")
    if code == "204":
        return int(status.headers.get("Nats-Num-Pending", "0")) > 0
    if code == "404":
        return False
    raise TransientError(
        f"reading {subject}: {code} {status.headers.get('Description', 'no answer')}"
    )
