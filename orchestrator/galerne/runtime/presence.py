"""Who is there: heartbeats over core NATS, and who has been heard lately.

A member that leaves says so; one that dies is missed after three heartbeats. Whoever comes asks
once, and everybody present answers at once; a question may name the one that is to answer. Where
what a member has to say is long, most of its heartbeats say only that it lives (`pulse`).
"""

import contextlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
import anyio.abc

from galerne.bus.connection import Bus, Message
from galerne.errors import InvalidMessageError, TransientError

MISSED = 3.5
"""Heartbeats without a word after which a member counts as gone."""

WHOLE = 20
"""Each so many heartbeats everything is said again, for whoever lost the last answer."""

T = TypeVar("T")


class Heard(Generic[T]):
    """Members by name with what they last said, and when. Pure but for the given times."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._members: dict[str, tuple[float, T]] = {}

    def hear(self, name: str, said: T, now: float, *, leaving: bool) -> bool:
        """Take a heartbeat in; gives whether somebody came or went."""
        if leaving:
            return self._members.pop(name, None) is not None
        fresh = name not in self._members
        self._members[name] = (now, said)
        return fresh

    def still_there(self, name: str, now: float) -> bool:
        """Take a heartbeat in that says no more than that; False for a stranger's."""
        known = self._members.get(name)
        if known is not None:
            self._members[name] = (now, known[1])
        return known is not None

    def __bool__(self) -> bool:
        return bool(self._members)

    def expire(self, now: float) -> bool:
        """Drop whoever was silent for too long; gives whether anybody was."""
        limit = now - MISSED * self._interval
        gone = [name for name, (at, _) in self._members.items() if at < limit]
        for name in gone:
            del self._members[name]
        return bool(gone)

    def get(self, name: str) -> T | None:
        known = self._members.get(name)
        return None if known is None else known[1]

    def members(self) -> dict[str, T]:
        return {name: said for name, (_, said) in self._members.items()}


async def announce(
    bus: Bus,
    role: str,
    interval: float,
    say: Callable[[bool], bytes],
    *,
    me: str = "",
    pulse: Callable[[], bytes] | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Publish `say(leaving)` each `interval` seconds and when asked, until cancelled.

    With a `pulse` that is published in between, and the whole only each `WHOLE`th time. `me` is the
    name by which a question may ask for this member alone.
    """

    async def publish(data: bytes) -> None:
        with contextlib.suppress(TransientError):  # the next one is due soon
            await bus.send(bus.subjects.presence(role), data)

    async def on_query(message: Message) -> None:
        if not message.data or message.data == me.encode():
            await publish(say(False))  # noqa: FBT003 - a callback of one argument

    queries = await bus.subscribe(bus.subjects.presence_query(role), on_query)
    task_status.started()
    try:
        for beat in itertools.count():
            short = pulse() if pulse is not None and beat % WHOLE else None
            await publish(short or say(False))  # noqa: FBT003 - as above
            await anyio.sleep(interval)
    finally:
        with anyio.move_on_after(0.5, shield=True):
            with contextlib.suppress(Exception):  # the connection may be closed
                await queries.unsubscribe()
            await publish(say(True))  # noqa: FBT003 - as above


async def listen(bus: Bus, role: str, hear: Callable[[bytes], Awaitable[None]]) -> None:
    """Give every heartbeat of a role to `hear` from now on, and ask who is there.

    `hear` may raise InvalidMessageError: such a message is left alone.
    """

    async def on_heartbeat(message: Message) -> None:
        try:
            await hear(message.data)
        except InvalidMessageError:
            return

    await bus.subscribe(bus.subjects.presence(role), on_heartbeat)
    await bus.send(bus.subjects.presence_query(role), b"")
