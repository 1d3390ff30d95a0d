"""Questions that wait for a person: which are open, and how a person's word reaches the job.

    open ──▶ checked here ──▶ sent, durably ──▶ a coordinator writes `decided` ──▶ it stands
                                                    └─ another's word was first: that one stands

Everything is read from the log; a word that would be refused is never sent.
"""

import secrets
from collections.abc import Sequence

import anyio
import msgspec

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog, Record
from galerne.client.events import readable
from galerne.client.patience import patiently
from galerne.core.asks import Asks, call_name, latest, parse_call
from galerne.core.open_question import OpenQuestion, Word, open_question
from galerne.core.words import check_word
from galerne.errors import (
    DeadlineError,
    InvalidInputError,
    NotFoundError,
    PermanentError,
    TooLargeError,
)
from galerne.messages.codec import encode
from galerne.messages.facts import Asked, Decided, Ended
from galerne.messages.ids import TenantId
from galerne.messages.requests import Decide
from galerne.messages.subjects import JobAddress

TAKEN = 10.0
"""Seconds for a coordinator to write down what a person has said."""
_LOOK = 0.05
"""Seconds between two looks whether it has."""
_LISTED = 8
"""Open questions that an error names."""
_HEADERS = 200
"""Bytes of a message beside its data, at most."""


async def open_of_tenant(bus: Bus, tenant: TenantId) -> list[OpenQuestion]:
    """The open questions of the tenant's running jobs, oldest first. Raises TransientError."""
    log, subjects = FactLog(bus), bus.subjects
    asked = await log.read(subjects.events(tenant=tenant, rest="ask.>"))
    if not asked:
        return []
    since = asked[0].sequence
    decided = await log.read(subjects.events(tenant=tenant, rest="decided.>"), since)
    ended = await log.read(subjects.events(tenant=tenant, rest="end"), since)
    return open_among(asked, decided, ended)


def open_among(
    asked: Sequence[Record], decided: Sequence[Record], ended: Sequence[Record]
) -> list[OpenQuestion]:
    """What is open, by the `ask`, `decided` and `end` facts of any number of jobs."""
    over = {record.address for record in ended}
    jobs: dict[JobAddress, Asks] = {}
    for record in (*asked, *decided):
        if record.address not in over:
            _fold(jobs.setdefault(record.address, Asks()), record)
    found = [
        open_question(address.job, ask)
        for address, asks in jobs.items()
        for ask in asks.open_in_order()
    ]
    return sorted(found, key=lambda one: (one.at, one.job, one.call))


async def asks_of(bus: Bus, address: JobAddress) -> Asks:
    """A job's questions and answers. Raises TransientError."""
    log, asks = FactLog(bus), Asks()
    for rest in ("ask.>", "decided.>"):
        for record in await log.read(bus.subjects.job(address, rest)):
            _fold(asks, record)
    return asks


async def decide(
    bus: Bus, address: JobAddress, call: str, word: Word, approved_hash: str | None = None
) -> Decided:
    """Say `word` on the question named `call`; gives the word that stands, this or an earlier one.

    An approval is for the arguments as they are now, or those of `approved_hash`. Raises
    NotFoundError where no such question is open, InvalidInputError where the word does not fit
    it, DeadlineError where no coordinator took it in time (it is stored all the same).
    """
    ask, decided = await patiently(bus, lambda: _find(bus, address, call))
    if decided is not None:
        return decided
    bound = ask.hash if approved_hash is None else approved_hash
    check_word(ask, word.verdict, word.value, bound)
    await _send(bus, address, ask, word, bound)
    return await _stands(bus, address, ask)


async def _find(bus: Bus, address: JobAddress, call: str) -> tuple[Asked, Decided | None]:
    """The last question of that name, and what was decided on it if somebody was first."""
    task, n = parse_call(call)
    asks = await asks_of(bus, address)
    ask = latest(asks.asked.values(), task, n)
    if ask is None:
        raise NotFoundError(f"job {address.job} has no question {call[:80]}: {_open(asks)}")
    decided = asks.decided.get((ask.task, ask.n, ask.round))
    if decided is None:
        await _require_running(bus, address)
    return ask, decided


async def _require_running(bus: Bus, address: JobAddress) -> None:
    end = await FactLog(bus).last(address, "end")
    fact = None if end is None else readable(end)
    if isinstance(fact, Ended):
        raise PermanentError(f"job {address.job} is over ({fact.status}): nothing waits any more")


async def _send(bus: Bus, address: JobAddress, ask: Asked, word: Word, bound: str | None) -> None:
    message = Decide(
        job=address.job,
        task=ask.task,
        n=ask.n,
        round=ask.round,
        verdict=word.verdict,
        hash=bound if word.verdict == "approved" else None,
        value=word.value,
        why=word.why,
        by=word.by,
    )
    data = _encoded(message, bus.settings.max_payload)
    subject = bus.subjects.command(address.tenant)
    message_id = f"decide.{address.tenant}.{address.job}.{secrets.token_hex(8)}"
    await patiently(bus, lambda: bus.publish(subject, data, message_id=message_id))


def _encoded(message: Decide, limit: int) -> bytes:
    try:
        data = encode(message)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInputError(f"the answer cannot be sent as JSON: {error}") from error
    size = len(data) + _HEADERS
    if size > limit:
        raise TooLargeError(f"the answer has {size} bytes and the limit is {limit}: say less")
    return data


async def _stands(bus: Bus, address: JobAddress, ask: Asked) -> Decided:
    log, name = FactLog(bus), f"decided.{ask.task}.{ask.n}.{ask.round}"
    with anyio.move_on_after(TAKEN):
        while True:
            record = await patiently(bus, lambda: log.last(address, name))
            fact = None if record is None else readable(record)
            if isinstance(fact, Decided):
                return fact
            await patiently(bus, lambda: _require_running(bus, address))
            await anyio.sleep(_LOOK)
    raise DeadlineError(
        f"what you said of {call_name(ask.task, ask.n)} is stored, and no coordinator has taken"
        f" it within {TAKEN:g} s: is a fleet running there? (`galerne up`)"
    )


def _fold(asks: Asks, record: Record) -> None:
    fact = readable(record)
    if isinstance(fact, Asked | Decided):
        asks.fold(fact)


def _open(asks: Asks) -> str:
    names = [call_name(ask.task, ask.n) for ask in asks.open_in_order()]
    if not names:
        return "it has none that is open"
    more = ", …" if len(names) > _LISTED else ""
    return f"open are {', '.join(names[:_LISTED])}{more}"
