"""A recorded job decided again: where today's code would write something else.

    facts in the log's order ─▶ fold ─▶ after each that wakes a coordinator: what today's code wants
                                  └──▶ a decision of the recording: did today's code want the same?

A recording says when a fact was stored, not what its writer had seen. Coordinators write a moment
after the cause, several may race, and one may die between two writes. So the rules are:

- A recorded decision is right if today's code wanted the same at an earlier place of the log, or
  wants it in a state that its writer may have seen.
- How a task starts does not depend on what else was seen. So it has to be what today's code wanted
  *first*, which is how a start that comes too early shows itself.
- What today's code wants and the recording lacks is a difference once nothing can excuse it: the
  job has succeeded without it, or a decision with a much later cause stands (`LATE`). What was
  only wanted for a while was overtaken by events.

Times, usage, settings (`max_attempts`) and the words of errors are no decisions. When a
decision comes is not compared.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from galerne.core import ends
from galerne.core.decide import TIME_IS_OVER, decide, overdue
from galerne.core.decisions import (
    END,
    Slot,
    decided_at,
    is_alike,
    is_decision,
    other_fields,
    shown,
    slot_of,
    wakes,
)
from galerne.core.fold import fold
from galerne.core.state import JobState
from galerne.core.unreadable import meaning
from galerne.messages.facts import AnyFact, Decided, Done, Ended, Ready
from galerne.messages.ids import ANSWER_TASK
from galerne.messages.plan import Failed

LATE = 60.0
"""Seconds: a write that was under way when its coordinator lost the server has long arrived."""
RECENT = 64
"""Facts that may have come while a coordinator was writing what it had decided before them."""
CLOCKS = 2.0
"""Seconds that a coordinator's clock may be behind the server's."""

Wants = Callable[[JobState, float], list[AnyFact]]
"""What a coordinator writes, given what it has seen and the time."""


class Entry(msgspec.Struct, frozen=True):
    """One fact of a recording, as it stood in the log; `fact` is None where it is unreadable."""

    sequence: int
    at: float
    name: str
    fact: AnyFact | None
    error: str | None = None

    @property
    def means(self) -> AnyFact | None:
        """What a coordinator takes it for."""
        return self.fact or meaning(self.name, self.error or "", self.at)


class Difference(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing that today's code decides otherwise, after the fact at `after` in the log.

    `today` is what it writes and `recorded` what the recording has at `sequence`; one of them may
    be missing. Where both have one name, `fields` says what is not the same.
    """

    after: int
    after_name: str
    today: str | None = None
    recorded: str | None = None
    sequence: int | None = None
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f"after {self.after} {self.after_name}: today's code"
        if self.recorded is None:
            return f"{place} also writes {self.today}"
        there = f"{self.recorded} at {self.sequence}"
        if self.today is None:
            return f"{place} does not write what the recording has: {there}"
        if self.today == self.recorded:
            fields = " and ".join(self.fields)
            return f"{place} writes {self.today} with other {fields} than at {self.sequence}"
        return f"{place} writes {self.today} where the recording has {there}"


class Want(msgspec.Struct, frozen=True):
    """What today's code wants to write, and the place in the recording where it did so first."""

    fact: AnyFact
    position: int
    at: float


def today(state: JobState, now: float) -> list[AnyFact]:
    """What a coordinator of today writes."""
    return [*decide(state, now), *overdue(state, now)]


def replay(entries: Sequence[Entry], wants: Wants = today) -> list[Difference]:
    """Where today's code decides otherwise than the recording of a job, in the log's order."""
    run = _Replay(entries, wants)
    for position, entry in enumerate(entries):
        run.take(position, entry)
    return run.differences()


def state_of(entries: Sequence[Entry]) -> JobState:
    """What the recorded facts add up to."""
    state = JobState()
    for entry in entries:
        _fold(state, entry)
    return state


class _Replay:
    """The recording as far as it was taken."""

    def __init__(self, entries: Sequence[Entry], wants: Wants) -> None:
        self._entries = entries
        self._wants = wants
        self._state = JobState()
        self._first: dict[Slot, Want] = {}
        self._wanted: dict[Slot, list[AnyFact]] = {}
        self._pending: dict[Slot, Want] = {}
        self._late: dict[Slot, Want] = {}
        self._left: dict[Slot, Want] = {}
        self._recorded: set[Slot] = set()
        self._found: list[tuple[int, Difference]] = []

    def take(self, position: int, entry: Entry) -> None:
        fact = entry.means
        if fact is None:
            return
        if entry.fact is not None and is_decision(entry.fact):
            self._compare(position, entry, entry.fact)
        slot = slot_of(fact)
        if slot is not None:
            self._pending.pop(slot, None)
            self._recorded.add(slot)
        fold(self._state, fact, entry.at)
        if wakes(fact):
            self._decide(position, entry.at)

    def _decide(self, position: int, at: float) -> None:
        wanted: dict[Slot, Want] = {}
        for fact in self._ask(self._state, at):
            slot = slot_of(fact)
            if slot is None:
                continue
            want = self._first.setdefault(slot, Want(fact, position, at))
            alike = self._wanted.setdefault(slot, [])
            if not any(is_alike(fact, one) for one in alike):
                alike.append(fact)
            if slot not in self._recorded:
                wanted[slot] = want
        if END in wanted and END not in self._pending:
            self._left = self._pending
        self._pending = wanted

    def _ask(self, state: JobState, now: float) -> list[AnyFact]:
        try:
            return self._wants(state, now)
        except Exception as error:  # noqa: BLE001 - as a coordinator does
            return [ends.undecidable(error, now)]

    # what the recording has

    def _compare(self, position: int, entry: Entry, fact: AnyFact) -> None:
        slot = slot_of(fact)
        if slot is None:
            return
        first = self._first.get(slot)
        self._note_late(first)
        if first is not None and _is_settled_by_its_task(first.fact, fact):
            if not is_alike(first.fact, fact):
                self._differs(first.position, entry, fact, first.fact)
            return
        if any(is_alike(fact, one) for one in self._wanted.get(slot, ())):
            return
        if isinstance(fact, Ended) and (self._state.job is None or ends.is_refusal(fact)):
            return  # it was refused at its admission, or by the server: nobody decided that
        now = decided_at(fact, entry.at)
        mine = self._ask(self._state, now)
        if any(is_alike(fact, one) for one in mine):
            return
        if any(is_alike(fact, one) for one in self._wanted_elsewhere(position, now)):
            return
        instead = [one for one in mine if slot_of(one) in {slot, END}]
        self._differs(position - 1, entry, fact, instead[0] if instead else None)

    def _note_late(self, first: Want | None) -> None:
        """A decision stands whose cause came long after what is still missing was wanted."""
        cause = first.at if first is not None else 0.0
        for slot, want in self._pending.items():
            if want.at + LATE <= cause:
                self._late[slot] = want

    def _wanted_elsewhere(self, position: int, now: float) -> Iterator[AnyFact]:
        """What coordinators may want that have not seen the last facts, or one another's."""
        begin = max(0, position - RECENT)
        state = state_of(self._entries[:begin])
        for entry in self._entries[begin:position]:
            yield from self._ask(state, now)
            yield from self._ask(state, now - CLOCKS)
            _fold(state, entry)
        yield from self._ask(state, now - CLOCKS)
        for read in (0, *range(max(1, begin), position)):
            yield from self._wanted_since(read, position)

    def _wanted_since(self, read: int, position: int) -> Iterator[AnyFact]:
        """What one wants that has read the log up to `read` and was woken by facts since.

        It counts with its own decisions at once, and has not seen the starts of others.
        """
        state = state_of(self._entries[:read])
        for entry in (None, *self._entries[read:position]):
            fact = entry.means if entry is not None else None
            if entry is not None and (fact is None or not wakes(fact)):
                continue
            at = self._entries[max(0, read - 1)].at if entry is None else entry.at
            if fact is not None:
                fold(state, fact, at)
            for own in self._ask(state, at):
                fold(state, own, at)
                yield own

    # the verdict

    def _differs(self, after: int, entry: Entry, fact: AnyFact, wanted: AnyFact | None) -> None:
        place = self._entries[after] if after >= 0 else Entry(0, 0.0, "(nothing)", None)
        difference = Difference(
            after=place.sequence,
            after_name=place.name,
            today=None if wanted is None else shown(wanted),
            recorded=shown(fact),
            sequence=entry.sequence,
            fields=() if wanted is None else other_fields(wanted, fact),
        )
        self._found.append((after, difference))

    def differences(self) -> list[Difference]:
        missing = dict(self._late)
        answer = self._first.get(("ready", ANSWER_TASK))
        ended = self._state.ended
        if ended is not None and ended.status == "succeeded" and answer is not None:
            missing |= {
                slot: want
                for slot, want in self._left.items()
                if want.position <= answer.position and not _is_overtaken_easily(want.fact)
            }
        for slot in missing.keys() - self._recorded:
            want = missing[slot]
            place = self._entries[want.position]
            difference = Difference(
                after=place.sequence, after_name=place.name, today=shown(want.fact)
            )
            self._found.append((want.position, difference))
        in_order = sorted(self._found, key=lambda found: (found[0], str(found[1])))
        return [difference for _, difference in in_order]


def _is_settled_by_its_task(first: AnyFact, recorded: AnyFact) -> bool:
    """Whether every state in which it is wanted says the same.

    A later fact of the plan may replace a task's description, and with it how the task starts.
    """
    match first, recorded:
        case Ready(resume=0), Ready(resume=0):
            return first.task == recorded.task
        case Done(), Done():
            return True
        case _:
            return False


def _is_overtaken_easily(fact: AnyFact) -> bool:
    """By another answer, or by a worker that was just in time."""
    match fact:
        case Ready(resume=resume):
            return resume > 0
        case Done(outcome=Failed(message=message)):
            return message == TIME_IS_OVER
        case Decided():
            return True
        case _:
            return False


def _fold(state: JobState, entry: Entry) -> None:
    fact = entry.means
    if fact is not None:
        fold(state, fact, entry.at)
