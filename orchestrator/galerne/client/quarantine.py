"""What nobody could use, for a person to look at: read it, send it again, or throw it away.

    a bad message ──▶ kept by whoever met it (stream QUARANTINE)
                        ├─ read: newest first, or one with its bytes
                        ├─ sent again, mended or not: submissions and commands
                        └─ dropped: by number, by origin, by age

A record's number is its sequence in the stream, so it names the same record for ever. Anybody may
write into the stream; what is no record there is shown as such and can be dropped like the others.
"""

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, NoReturn

import msgspec

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog
from galerne.bus.store import unix_time
from galerne.client.patience import patiently, shown
from galerne.errors import (
    InvalidInputError,
    InvalidMessageError,
    NotFoundError,
    PermanentError,
    TooLargeError,
    UnavailableError,
)
from galerne.messages.codec import decode_command, decode_quarantined, decode_submit
from galerne.messages.ids import JobId, TenantId, check_id
from galerne.request import build, job_id

_INSTEAD = {
    "task": "lanes are filled from the log alone: submit its job again under another id",
    "ev": "the log is written once: if its job suffers, submit that again under another id",
    "tool": "its caller has been answered and is gone: the task calls again by itself",
    "tj": "the tool journal is written by tool workers alone: submit the job again if it suffers",
}
"""Origin → why such a message is not sent again, and what to do instead."""


class QuarantineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A message in quarantine: `at` in Unix seconds, `size` in bytes as they are kept.

    `readable` is False where the record itself is no record: `subject` is the record's own then.
    """

    number: int
    at: float
    origin: str
    subject: str
    error: str
    by: str
    size: int
    readable: bool = True


class QuarantineRecord(QuarantineEntry, frozen=True, kw_only=True):
    """The same with the bytes, which are base64 in JSON."""

    data: bytes


class Quarantine:
    """The quarantine of a fleet, over one connection; it is the operator's, not a tenant's."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._stream = bus.subjects.stream("QUARANTINE")

    # reading

    async def newest(self, limit: int = 20) -> list[QuarantineEntry]:
        """The newest records, newest first. Raises InvalidInputError, UnavailableError."""
        if limit < 1:
            raise InvalidInputError(f"limit is {limit}: ask for one record at least")
        return await patiently(self._bus, lambda: self._newest(limit))

    async def get(self, number: int) -> QuarantineRecord:
        """One record with its bytes. Raises NotFoundError, UnavailableError."""
        found = await patiently(self._bus, lambda: self._read(number))
        if found is None:
            raise _missing(number)
        return found

    # settling

    async def requeue(self, number: int, data: bytes | None = None) -> str:
        """Send a submission or a command again, mended as `data` if given, and drop the record.

        Gives the subject that it went to. Raises NotFoundError, UnavailableError, and
        InvalidInputError where sending it is of no use: what to do instead is in its words.
        """
        record = await self.get(number)
        data = record.data if data is None else data
        limit = self._bus.settings.max_payload
        if len(data) > limit:
            raise TooLargeError(f"the message has {len(data)} bytes and the limit is {limit}")
        await self._check(record, data)
        # The same message once more is none, so a lost acknowledgement does not double it.
        message_id = f"requeue-{number}-{hashlib.sha256(data).hexdigest()[:32]}"
        await patiently(
            self._bus, lambda: self._bus.publish(record.subject, data, message_id=message_id)
        )
        try:
            await self.drop(number)
        except NotFoundError:
            return record.subject  # another person was at it too, or it was pushed out
        return record.subject

    async def drop(self, number: int) -> None:
        """Delete a record. Raises NotFoundError, UnavailableError."""
        asked = False

        async def delete() -> None:
            nonlocal asked
            again, asked = asked, True
            try:
                await self._bus.api(f"STREAM.MSG.DELETE.{self._stream}", {"seq": number})
            except PermanentError as error:  # the server says it in several ways
                if await self._read(number) is not None:
                    raise
                if not again:
                    raise _missing(number) from error

        if number < 1:
            raise _missing(number)
        await patiently(self._bus, delete)

    async def clear(self, *, origin: str | None = None, before: float | None = None) -> int:
        """Delete all records, or those of one origin, or those from before a Unix time.

        What arrives meanwhile stays. Gives how many were deleted. Raises InvalidInputError,
        UnavailableError.
        """
        if origin is not None:
            check_id(origin, "the origin")

        async def purge() -> int:
            state = await self._state()
            end = state.last + 1 if before is None else await self._first_at(before, state)
            if end <= state.first:
                return 0
            body: dict[str, Any] = {"seq": end}
            if origin is not None:
                body["filter"] = self._bus.subjects.quarantine(origin)
            return int((await self._bus.api(f"STREAM.PURGE.{self._stream}", body))["purged"])

        return await patiently(self._bus, purge)

    # the inside

    async def _newest(self, limit: int) -> list[QuarantineEntry]:
        state = await self._state(gaps=True)
        found: list[QuarantineEntry] = []
        for number in islice(state.numbers(), limit):
            record = await self._read(number)
            if record is not None:  # else it was dropped meanwhile
                found.append(_entry(record))
        return found

    async def _read(self, number: int) -> QuarantineRecord | None:
        if number < 1:
            return None
        try:
            answer = await self._bus.api(f"STREAM.MSG.GET.{self._stream}", {"seq": number})
        except NotFoundError:
            await self._state()  # raises where it is the stream that is missing
            return None
        return record_of(answer["message"], self._bus.subjects.quarantine(""))

    async def _state(self, *, gaps: bool = False) -> "_State":
        """Raises UnavailableError where there is no quarantine yet, TransientError."""
        try:
            info = await self._bus.api(f"STREAM.INFO.{self._stream}", {"deleted_details": gaps})
        except NotFoundError as error:
            raise UnavailableError(
                f"no fleet was ever started on {shown(self._bus.settings.server or '')} under the"
                f" prefix {self._bus.settings.prefix!r}: start one there"
            ) from error
        state: dict[str, Any] = info["state"]
        gone: list[int] = state.get("deleted") or []
        return _State(int(state["first_seq"]), int(state["last_seq"]), frozenset(gone))

    async def _first_at(self, when: float, state: "_State") -> int:
        """The lowest sequence that was stored at `when` or later: times only grow."""
        low, high = state.first, state.last + 1
        everything = self._bus.subjects.quarantine(">")
        while low < high:
            middle = (low + high) // 2
            question = {"seq": middle, "next_by_subj": everything}
            try:
                answer = await self._bus.api(f"STREAM.MSG.GET.{self._stream}", question)
            except NotFoundError:
                high = middle
                continue
            if unix_time(answer["message"]["time"]) < when:
                low = int(answer["message"]["seq"]) + 1
            else:
                high = middle
        return low

    async def _check(self, record: QuarantineRecord, data: bytes) -> None:
        """Whether sending it again can do any good. Raises InvalidInputError."""
        drop = f"drop the record (`galerne quarantine drop {record.number}`)"
        if not record.readable:
            raise InvalidInputError(f"record {record.number} tells no origin to send it to: {drop}")
        prefix = f"{self._bus.subjects.prefix}."
        origin, _, tenant = record.subject.removeprefix(prefix).partition(".")
        if not record.subject.startswith(prefix) or origin not in {"submit", "command"}:
            why = _INSTEAD.get(origin, "nobody waits for it there any more")
            raise InvalidInputError(f"a message from `{origin}` is not sent again: {why}; {drop}")
        tenant = TenantId(check_id(tenant, "the tenant in the record's subject"))
        try:
            if origin == "submit":
                job = submission(data, tenant)
            else:
                job = JobId(check_id(decode_command(data).job, "the job's id"))
        except InvalidInputError as error:
            _unusable(record, error)
        if origin == "submit":
            await self._check_new(tenant, job, drop)

    async def _check_new(self, tenant: TenantId, job: JobId, drop: str) -> None:
        """A coordinator passes over a job that its log knows, so sending it would be in vain."""
        facts, address = FactLog(self._bus), self._bus.subjects.address(tenant, job)

        async def known() -> bool:
            end = await facts.last(address, "end")
            return (end or await facts.last(address, "submitted")) is not None

        if await patiently(self._bus, known):
            raise InvalidInputError(
                f"job {job} is in the log already (a refusal uses its id up): give the message"
                f" another id with --data, or {drop}"
            )


class _State(msgspec.Struct, frozen=True):
    """What the stream holds: sequences from `first` to `last` but for those that are `gone`."""

    first: int
    last: int
    gone: frozenset[int]

    def numbers(self) -> Iterator[int]:
        """Newest first."""
        return (n for n in range(self.last, self.first - 1, -1) if n not in self.gone)


def record_of(message: dict[str, Any], head: str) -> QuarantineRecord:
    """A record from JetStream's `message`; `head` is what precedes the origin in its subject."""
    data = msgspec.convert(message.get("data", ""), bytes)
    number, at = int(message["seq"]), unix_time(message["time"])
    subject: str = message["subject"]
    origin = subject.removeprefix(head)
    try:
        kept = decode_quarantined(data)
    except InvalidMessageError as error:
        return QuarantineRecord(
            number=number,
            at=at,
            origin=origin,
            subject=subject,
            error=str(error),
            by="",
            size=len(data),
            readable=False,
            data=data,
        )
    return QuarantineRecord(
        number=number,
        at=at,
        origin=origin,
        subject=kept.subject,
        error=kept.error,
        by=kept.by,
        size=len(kept.data),
        data=kept.data,
    )


def submission(data: bytes, tenant: TenantId) -> JobId:
    """The job of a submit message that a coordinator can begin. Raises InvalidInputError."""
    submit = decode_submit(data)
    if submit.job is None and submit.key is None:
        raise InvalidInputError("neither `job` nor `key` is given: the job would have no id")
    name = job_id(tenant, submit.job, submit.key)
    build(name, submit.goal, inputs=submit.inputs, tools=submit.tools, priority=submit.priority)
    return name


def _entry(record: QuarantineRecord) -> QuarantineEntry:
    fields = QuarantineEntry.__struct_fields__
    return QuarantineEntry(**{name: getattr(record, name) for name in fields})


def _missing(number: int) -> NotFoundError:
    return NotFoundError(
        f"there is no record {number} in quarantine: `galerne quarantine list` shows those that are"
    )


def _unusable(record: QuarantineRecord, error: InvalidInputError) -> NoReturn:
    raise InvalidInputError(
        f"the message cannot be used as it is: {error}; write it to a file (`galerne quarantine"
        f" show {record.number} --data FILE`), mend it and give it with --data FILE"
    ) from error
