"""Conversations on the bus: what was said in each, written once for each job, in order.

A session is nothing but its turns: the first makes it, and without any it is not there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import anyio

from galerne.bus import store
from galerne.bus.batches import batch
from galerne.bus.connection import Bus
from galerne.errors import (
    InvalidMessageError,
    NotFoundError,
    TransientError,
    UnavailableError,
)
from galerne.logs import get_logger
from galerne.messages.codec import decode_said, encode
from galerne.messages.ids import TenantId
from galerne.messages.sessions import Said

log = get_logger("galerne.bus.sessions")

_LOOKS = 20
"""How often a replica that lags behind the leader is asked again before a read breaks off."""
_PAUSE = 0.1


class Sessions:
    """Reads and writes them over one connection."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._subjects = bus.subjects
        self._stream = bus.subjects.stream("SESSIONS")

    async def add(self, tenant: TenantId, session: str, said: Said) -> bool:
        """Whether it is new: what stands for that job stays. Waits while the server is away.

        Raises PermanentError where the server will never take it.
        """
        subject = self._subjects.said(tenant, session, said.job)
        message_id = self._bus.new_message_id()
        stands = await store.write_once(self._bus, self._stream, subject, encode(said), message_id)
        return stands is None

    async def keep(self, tenant: TenantId, session: str, newest: int) -> None:
        """Take away all but the newest turns. Raises TransientError."""
        body = {"filter": self._subjects.said(tenant, session), "keep": newest}
        await self._bus.api(f"STREAM.PURGE.{self._stream}", body)

    async def read(self, tenant: TenantId, session: str) -> list[Said]:
        """The turns of a session, oldest first, all that have been written. Raises TransientError.

        One that cannot be read is left out.
        """
        subject = self._subjects.said(tenant, session)
        for _ in range(_LOOKS):
            newest = await store.last(self._bus, self._stream, subject)
            if newest is None:
                return []
            found = await self._read(subject)
            if found and found[-1].sequence >= newest.sequence:
                return _turns(found)
            await anyio.sleep(_PAUSE)  # the replica that has answered lags behind the leader
        raise TransientError(f"session {session} cannot be read whole: a replica lags behind")

    async def _read(self, subject: str) -> list[store.Stored]:
        found: list[store.Stored] = []
        more = True
        while more:
            start = found[-1].sequence + 1 if found else 1
            batched, more = await batch(self._bus, self._stream, subject, start)
            found += batched
        return found

    async def last(self, tenant: TenantId, session: str) -> Said | None:
        """The newest turn; None where there is none that can be read. Raises TransientError."""
        subject = self._subjects.said(tenant, session)
        newest = await store.last(self._bus, self._stream, subject)
        turns = _turns([] if newest is None else [newest])
        return turns[0] if turns else None

    async def counts(self, tenant: TenantId) -> Mapping[str, int]:
        """Session → the number of its turns. Raises TransientError."""
        subjects = self._subjects.said(tenant)
        try:
            found = await store.subject_counts(self._bus, self._stream, subjects)
        except NotFoundError as error:
            raise UnavailableError(
                "the fleet there has no store of sessions: start a worker of this version"
            ) from error
        return Counter(subject.split(".")[-2] for subject in found)

    async def forget(self, tenant: TenantId, session: str) -> int:
        """Take a session away for good; gives the number of its turns. Raises TransientError."""
        body = {"filter": self._subjects.said(tenant, session)}
        answer = await self._bus.api(f"STREAM.PURGE.{self._stream}", body)
        return int(answer.get("purged", 0))


def _turns(found: Sequence[store.Stored]) -> list[Said]:
    turns: list[Said] = []
    for stored in found:
        try:
            turns.append(decode_said(stored.data))
        except InvalidMessageError as error:
            log.warning("a turn is left out", subject=stored.subject[:200], why=str(error))
    return turns
