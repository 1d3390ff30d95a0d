"""A plain NATS connection, as a program has it that knows nothing of Galerne."""

import nats
from nats.aio.client import Client


async def connect(url: str) -> Client:
    """Connect to one of the servers (URLs with commas between), and reconnect for ever."""
    return await nats.connect(  # pyright: ignore[reportUnknownMemberType] - its options are untyped
        url.split(","),
        connect_timeout=1,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,
        error_cb=_ignore,
    )


async def _ignore(_: Exception) -> None:
    """The server is killed now and then; whoever waits for an answer sees it."""
