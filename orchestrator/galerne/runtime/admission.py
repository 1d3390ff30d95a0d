"""From the SUBMIT stream into the log: jobs become `submitted`, commands become facts.

    message ──▶ decoded ──▶ checked ──▶ `submitted`
                   │           └─ a bad goal, tool or size ─▶ `end`, which says why
                   └─ unusable ─▶ quarantine, and `end` where its job can still be told

A refusal never ends a job that was admitted before, and a refused id stays refused.
"""

import re
from collections.abc import Awaitable, Callable
from itertools import islice

import msgspec

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog
from galerne.bus.queue import Delivery
from galerne.errors import (
    InvalidInputError,
    InvalidMessageError,
    NotFoundError,
    PermanentError,
    TransientError,
)
from galerne.logs import get_logger
from galerne.messages.codec import decode_command, decode_submit
from galerne.messages.facts import PRIORITIES, Cancelled, Ended, JobSpec, Submitted
from galerne.messages.ids import JobId, TenantId, check_id, job_id_of_key
from galerne.messages.plan import Usage
from galerne.messages.requests import Submit
from galerne.messages.subjects import JobAddress
from galerne.runtime.quarantine import Quarantine

log = get_logger("galerne.runtime.admission")

UNADMITTED = 20
"""Deliveries of a command for a job that is not in the log yet: it may still be queued."""

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
"""Strings (the last may lack its closing quote), brackets, separators, other scalars."""
_LEGIBLE = 200_000
"""Tokens: a hostile message is not worth more time."""
_PROBLEM = re.compile(r"(?P<problem>.*) - at `\$\.(?P<field>\w+)")
_MUST_BE = {
    "goal": "text",
    "job": "text",
    "key": "text",
    "inputs": "an object",
    "tools": "a list of names",
    "priority": f"{', '.join(PRIORITIES[:-1])} or {PRIORITIES[-1]}",
}


def job_id(job: str | None, key: str | None, tenant: TenantId) -> JobId:
    """The id that a message gives its job. Raises InvalidInputError with what to change."""
    if job is not None:
        return JobId(check_id(job, "the job's id"))
    if key is not None:
        return job_id_of_key(tenant, key)
    raise InvalidInputError("neither `job` nor `key` is given: the job would have no id")


def checked(submit: Submit) -> None:
    """Whether a coordinator can begin it. Raises InvalidInputError with what to change."""
    if not submit.goal.strip():
        raise InvalidInputError("the goal is empty: say what is to be done")
    for name in submit.tools or ():
        check_id(name, "the tool")


def job_of(submit: Submit, tenant: TenantId) -> JobSpec:
    """The job that a message asks for. Raises InvalidInputError where its id is not usable."""
    return JobSpec(
        id=job_id(submit.job, submit.key, tenant),
        tenant=tenant,
        goal=submit.goal,
        key=submit.key,
        inputs=submit.inputs,
        tools=submit.tools,
        priority=submit.priority,
    )


def job_in(data: bytes, tenant: TenantId) -> JobId | None:
    """The id that a submit message of no other use still tells, None where it does not.

    Looks at the outermost strings only, so numbers of any size, nesting of any depth and broken
    escapes elsewhere do no harm.
    """
    fields = _outer_fields(data)
    try:
        if _text(fields, "type") not in {None, "submit"}:
            return None
        job = _text(fields, "job")
        return job_id(job, _text(fields, "key") if job is None else None, tenant)
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidInputError):
        return None


def _text(fields: dict[str, bytes], name: str) -> str | None:
    return msgspec.json.decode(fields.get(name, b"null"), type=str | None)


def _outer_fields(data: bytes) -> dict[str, bytes]:
    """Field → the first token of its value, of the outermost object as far as it is legible."""
    fields: dict[str, bytes] = {}
    name: bytes | None = None
    opened: list[bytes] = []
    for match in islice(_TOKENS.finditer(data), _LEGIBLE):
        token = match[0]
        outermost = opened == [b"{"]
        if token in b"]}":
            if not opened or outermost:
                break
            opened.pop()
        elif token in b"[{":
            if outermost and name is not None:
                fields[name.decode("utf-8", "replace")] = token
            opened.append(token)
        elif not opened:
            break
        elif outermost and token == b",":
            name = None
        elif outermost and token != b":":
            if name is None:
                name = token.strip(b'"')
            else:
                fields[name.decode("utf-8", "replace")] = token
    return fields


def why_unusable(error: str) -> str:
    """What to change in a submit message, from the decoder's reason. One line."""
    reason = error.removeprefix("this is not a submit message: ")
    found = _PROBLEM.match(reason)
    if found is None:
        if "recursion" in reason:
            return "it is nested too deeply: make the inputs flatter"
        if missing := re.search(r"missing required field `(\w+)`", reason):
            return f"{missing[1]} is missing"
        return f"it is not JSON in UTF-8 ({reason}): look for a cut text or a broken escape"
    field = found["field"]
    if found["problem"].endswith("out of range"):
        return f"{field} holds a number that is out of range: send it as text"
    if field in _MUST_BE:
        return f"{field} must be {_MUST_BE[field]}"
    return f"{field} is not usable ({found['problem']})"


class Admission:
    """Handles deliveries of the two consumers of the SUBMIT stream."""

    def __init__(
        self, bus: Bus, facts: FactLog, quarantine: Quarantine, clock: Callable[[], float]
    ) -> None:
        self._bus = bus
        self._facts = facts
        self._quarantine = quarantine
        self._clock = clock

    async def admit(self, delivery: Delivery) -> None:
        """One submit message, to its acknowledgement."""
        await self._settle(delivery, self._admit)

    async def command(self, delivery: Delivery) -> None:
        """One command, to its acknowledgement."""
        await self._settle(delivery, self._command)

    async def _settle(
        self, delivery: Delivery, handle: Callable[[Delivery], Awaitable[None]]
    ) -> None:
        """What cannot be used is quarantined; what the bus could not take comes again."""
        try:
            try:
                await handle(delivery)
            except PermanentError as error:
                await self._quarantine.put(delivery.subject, delivery.data, str(error))
            await delivery.ack()
        except TransientError as error:
            await delivery.retry(error.retry_after or 1.0)

    async def _admit(self, delivery: Delivery) -> None:
        tenant = self._tenant(delivery)
        submit = await self._decoded(delivery.data, tenant)
        job = job_of(submit, tenant)
        address = self._address(tenant, job.id)
        if await self._facts.last(address, "end") is not None:
            log.info("already known: a job that is over", job=job.id)
            return
        try:
            checked(submit)
            stands = await self._facts.write(address, Submitted(job=job, at=self._clock()))
        except PermanentError as error:
            await self._refuse(tenant, job.id, str(error))
            return
        if stands is None:
            log.info("admitted", job=job.id, tenant=tenant)
        elif stands.fact is None:
            why = f"its log begins with an unreadable message ({stands.error})"
            await self._refuse(tenant, job.id, why)
        else:
            log.info("already known: the same job", job=job.id)

    async def _decoded(self, data: bytes, tenant: TenantId) -> Submit:
        """Raises InvalidMessageError, after the job was refused where its id can be told."""
        try:
            return decode_submit(data)
        except InvalidMessageError as error:
            job = job_in(data, tenant)
            if job is not None:
                why = f"the job was refused: {why_unusable(str(error))}"
                await self._refuse(tenant, job, why)
            raise

    async def _refuse(self, tenant: TenantId, job: JobId, why: str) -> None:
        """End a job that never began, where its user looks for it; one that did stays as it is."""
        address = self._address(tenant, job)
        submitted = await self._facts.last(address, "submitted")
        if submitted is not None and submitted.fact is not None:
            log.warning("a bad repetition of a job is dropped", job=job, why=why)
            return
        ended = Ended(status="failed", usage=Usage(), at=self._clock(), error=why)
        await self._facts.write(address, ended)
        log.warning("refused", job=job, why=why)

    def _address(self, tenant: TenantId, job: JobId) -> JobAddress:
        return self._bus.subjects.address(tenant, job)

    async def _command(self, delivery: Delivery) -> None:
        command = decode_command(delivery.data)
        job = JobId(check_id(command.job, "the job's id"))
        address = self._address(self._tenant(delivery), job)
        if await self._facts.last(address, "submitted") is None:
            if delivery.delivered < UNADMITTED:
                raise TransientError(f"job {job} is not admitted yet", retry_after=0.25)
            raise NotFoundError(f"there is no job {job}")
        if await self._facts.last(address, "end") is None:
            await self._facts.write(address, Cancelled(why=command.why, at=self._clock()))
            log.info("cancelled", job=job)

    def _tenant(self, delivery: Delivery) -> TenantId:
        tenant = delivery.subject.rpartition(".")[2]
        try:
            return TenantId(check_id(tenant, "the tenant"))
        except InvalidInputError as error:
            raise InvalidMessageError(str(error)) from error
