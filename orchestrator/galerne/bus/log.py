"""The log of facts: written once (`store`), read by job."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec

from galerne.bus import store
from galerne.bus.batches import BATCH, batch
from galerne.bus.connection import Bus
from galerne.errors import (
    GalerneError,
    InvalidInputError,
    InvalidMessageError,
    NotFoundError,
)
from galerne.faults import reach
from galerne.messages.codec import decode_fact, encode
from galerne.messages.facts import AnyFact, Planned
from galerne.messages.ids import check_id
from galerne.messages.subjects import JobAddress, Subjects


class Record(msgspec.Struct, frozen=True):
    """What the log holds at one place. `fact` is None where the bytes are no fact: see `error`."""

    address: JobAddress
    name: str
    fact: AnyFact | None
    sequence: int
    at: float
    data: bytes = b""
    error: str | None = None


class FactLog:
    """Reads and writes facts over one connection."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._subjects = bus.subjects
        self._stream = bus.subjects.stream("EVENTS")

    async def write(
        self, address: JobAddress, fact: AnyFact, message_id: str | None = None
    ) -> Record | None:
        """Write a fact. None: it is in the log; otherwise the fact that stands in its place.

        Tries again while the server is away. Raises PermanentError (too large, refused).
        """
        subject, data = self._subjects.fact(address, fact), _encoded(fact)
        reach("publish.*.before", partial(_tag, fact))
        stands = await store.write_once(
            self._bus, self._stream, subject, data, message_id or self._bus.new_message_id()
        )
        reach("publish.*.after", partial(_tag, fact))
        return None if stands is None else self._of_stored(stands)

    def post(
        self,
        address: JobAddress,
        fact: AnyFact,
        message_id: str,
        settled: Callable[[GalerneError | None], None],
    ) -> None:
        """Try once to write a fact, without waiting. `settled` gets None when it is stored.

        Otherwise it gets what went wrong: then `write` it under the same `message_id`, which finds
        out what stands.
        """

        def answered(answer: int | GalerneError) -> None:
            if isinstance(answer, GalerneError):
                settled(answer)
                return
            reach("publish.*.after", partial(_tag, fact))
            settled(None)

        try:
            data = _encoded(fact)
        except InvalidInputError as error:
            settled(error)
            return
        reach("publish.*.before", partial(_tag, fact))
        self._bus.post_stored(self._subjects.fact(address, fact), data, message_id, 0, answered)

    def new_message_id(self) -> str:
        """For one write, however often it is tried."""
        return self._bus.new_message_id()

    async def append(self, address: JobAddress, fact: AnyFact, expected: int) -> int:
        """Append a claim to its subject, whose last sequence must be `expected`.

        Raises ConflictError where another was first, TransientError.
        """
        subject = self._subjects.fact(address, fact)
        reach("publish.*.before", partial(_tag, fact))
        sequence = await store.append(self._bus, self._stream, subject, _encoded(fact), expected)
        reach("publish.*.after", partial(_tag, fact))
        return sequence

    async def last(self, address: JobAddress, name: str) -> Record | None:
        """The last message under a fact's name, from the leader. Raises TransientError."""
        found = await store.last(self._bus, self._stream, self._subjects.job(address, name))
        return None if found is None else self._of_stored(found)

    async def jobs_with(self, name: str, part: int) -> set[JobAddress]:
        """The jobs of a part that have a fact of that name. Raises TransientError."""
        subjects = self._subjects.events(part=str(part), rest=name)
        jobs: set[JobAddress] = set()
        for subject in await store.subject_counts(self._bus, self._stream, subjects):
            with suppress(InvalidMessageError):  # a subject that is no job's
                jobs.add(self._subjects.parse_event(subject)[0])
        return jobs

    async def holds(self, sequence: int) -> bool:
        """Whether the stream's leader has a message there. Raises TransientError."""
        try:
            await self._bus.api(f"STREAM.MSG.GET.{self._stream}", {"seq": sequence})
        except NotFoundError:
            return False
        return True

    async def batch(
        self, filter_subject: str, after: int = 0, most: int = BATCH
    ) -> tuple[list[store.Stored], bool]:
        """The next messages from sequence `after` + 1, as they are, and whether there are more.

        Raises TransientError.
        """
        return await self._read_batch(filter_subject, after + 1, most)

    async def read(self, filter_subject: str, after: int = 0) -> list[Record]:
        """Every fact under a subject with wildcards, in order, from sequence `after` + 1.

        Messages whose subject is no fact's are left out. Raises TransientError.
        """
        records: list[Record] = []
        start = after + 1
        while True:
            batched, more = await self._read_batch(filter_subject, start)
            for stored in batched:
                start = stored.sequence + 1
                try:
                    records.append(self._of_stored(stored))
                except InvalidMessageError:
                    continue  # the coordinator of its part quarantines it
            if not more:
                return records

    async def read_job(self, address: JobAddress, after: int = 0) -> list[Record]:
        return await self.read(self._subjects.job(address), after)

    async def _read_batch(
        self, subject: str, start: int, most: int = BATCH
    ) -> tuple[list[store.Stored], bool]:
        return await batch(self._bus, self._stream, subject, start, most)

    def _of_stored(self, stored: store.Stored) -> Record:
        return record_of(self._subjects, stored.subject, stored.data, stored.sequence, stored.at)


def _tag(fact: AnyFact) -> str:
    return str(fact.__struct_config__.tag)


def _encoded(fact: AnyFact) -> bytes:
    """What was read at one depth of the stack may not be writable at another."""
    try:
        return encode(fact)
    except (RecursionError, TypeError, UnicodeEncodeError) as error:
        raise InvalidInputError(f"a fact cannot be written: {error}") from error


def record_of(subjects: Subjects, subject: str, data: bytes, sequence: int, at: float) -> Record:
    """What stands in the log, readable or not. Raises InvalidMessageError for a bad subject."""
    address, name = subjects.parse_event(subject)
    try:
        fact = decode_fact(name, data)
        if isinstance(fact, Planned):  # its id is still to become a token of subjects
            check_id(fact.task.id, "the task's id")
    except InvalidInputError as error:
        return Record(address, name, None, sequence, at, data, str(error))
    return Record(address, name, fact, sequence, at)
