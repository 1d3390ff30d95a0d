"""Conversations, as the coordinators keep them.

    a job of a session is about to succeed ─▶ its turn is written ─▶ its `end` is written
    the next job is admitted ─▶ the turns that stand by then are fitted into its `submitted` fact

An end implies its turn, so whoever has an answer in hand may go on from it. Both are written once:
a coordinator that dies between them leaves a turn, and the next one finds it there. A job that is
cancelled in that moment leaves it, too: its answer had been found. A job sees what is finished when
it is admitted; one that is still running is not waited for.
"""

import msgspec

from galerne.bus.connection import Bus
from galerne.bus.sessions import Sessions
from galerne.core.history import fitted, said
from galerne.core.state import JobState
from galerne.core.summary import summary_of
from galerne.errors import GalerneError, PermanentError
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.codec import encode
from galerne.messages.facts import AnyFact, Ended, Submitted
from galerne.messages.ids import plan_task
from galerne.messages.subjects import JobAddress

log = get_logger("galerne.runtime.sessions")

HEADERS = 4096
"""Bytes of a message that are left to its headers and to what surrounds a turn."""


class Conversations:
    """Writes turns, over one connection; `turns` are kept of each session."""

    def __init__(self, bus: Bus, turns: int) -> None:
        self._sessions = Sessions(bus)
        self._most = bus.settings.max_payload - HEADERS
        self._turns = turns

    def has_turn(self, state: JobState, facts: list[AnyFact]) -> bool:
        """Whether one of these facts of a job has to wait for its turn to be written."""
        return any(_answer_of(state, fact) is not None for fact in facts)

    async def before(self, address: JobAddress, state: JobState, fact: AnyFact) -> None:
        """What has to stand before this fact of a job does: the turn, before a good end.

        Waits while the server is away. One that it will never take keeps no job from ending.
        """
        end, job = _answer_of(state, fact), state.job
        if end is None or job is None or job.session is None:
            return
        summary = summary_of(state.value(plan_task(1)))
        turn = said(job.id, job.goal, end.result, end.at, self._most, summary)
        reach("turn.before")
        try:
            is_new = await self._sessions.add(address.tenant, job.session, turn)
            reach("turn.after")
            if is_new:
                await self._sessions.keep(address.tenant, job.session, self._turns)
        except PermanentError as error:
            log.error("a turn is lost to its session", session=job.session, why=str(error))  # noqa: TRY400 - the sentence says it all
        except GalerneError as error:
            log.debug("older turns stay for now", session=job.session, why=str(error))


async def with_history(bus: Bus, begun: Submitted) -> Submitted:
    """The fact with what its session has to say, as much of it as fits. Raises TransientError."""
    job = begun.job
    if job.session is None:
        return begun
    turns = await Sessions(bus).read(job.tenant, job.session)
    room = bus.settings.max_payload - HEADERS - len(encode(begun))
    earlier = [turn for turn in turns if turn.job != job.id]  # one that was purged and comes again
    history = fitted(earlier, room)
    return msgspec.structs.replace(begun, job=msgspec.structs.replace(job, history=history))


def _answer_of(state: JobState, fact: AnyFact) -> Ended | None:
    """The end of a job with a session, if that is what the fact is and it has an answer."""
    in_session = state.job is not None and state.job.session is not None
    good = isinstance(fact, Ended) and fact.status == "succeeded"
    return fact if in_session and good and isinstance(fact, Ended) else None
