"""What the queue has lost, and how it gets there again."""

import msgspec
import pytest

from galerne.core.decide import decide
from galerne.core.decisions import is_decision, slot_of
from galerne.core.lost import queued_anew, to_be_queued
from galerne.core.state import JobState
from galerne.core.unreadable import meaning
from galerne.messages.facts import AnyFact, Ended, Ready
from galerne.messages.ids import TaskId
from galerne.messages.plan import Usage
from galerne.messages.subjects import fact_name
from unit.core.facts import (
    Stored,
    asked,
    decided,
    done,
    folded,
    planned,
    ready,
    stored,
    submitted,
)

READY = ready("1")
BEGUN: tuple[AnyFact, ...] = (submitted(), planned(1, "1"), planned(2, "2"), READY, ready("2"))
ENDED = Ended(status="succeeded", usage=Usage(), at=9.0)
NOTHING: set[TaskId] = set()


def state_of(*facts: AnyFact) -> JobState:
    return folded(stored(fact) for fact in facts)


def names(facts: list[Ready]) -> list[str]:
    return [fact_name(fact) for fact in facts]


def test_a_task_that_the_queue_does_not_hold_is_queued_anew() -> None:
    state = state_of(*BEGUN)
    assert to_be_queued(state) == {"1", "2"}
    (lost,) = queued_anew(state, {TaskId("2")})
    assert fact_name(lost) == "resume.executor.normal.1.0-1"
    assert msgspec.structs.replace(lost, again=0) == READY
    assert queued_anew(state, {TaskId("1"), TaskId("2")}) == []


def test_each_time_has_a_name_of_its_own() -> None:
    (first,) = queued_anew(state_of(*BEGUN), {TaskId("2")})
    state = state_of(*BEGUN, first)
    assert state.ready[TaskId("1")] == READY
    assert names(queued_anew(state, {TaskId("2")})) == ["resume.executor.normal.1.0-2"]


def test_done_tasks_and_ended_jobs_need_no_queue() -> None:
    assert to_be_queued(state_of(*BEGUN, done("1"))) == {"2"}
    assert to_be_queued(state_of(*BEGUN, ENDED)) == NOTHING


def test_a_task_that_waits_for_a_person_has_left_the_queue_until_it_is_resumed() -> None:
    parked = state_of(*BEGUN, asked("1", 1))
    assert to_be_queued(parked) == {"2"}
    answered = state_of(*BEGUN, asked("1", 1), decided("1", 1))
    assert to_be_queued(answered) == {"2"}
    (resumed,) = (one for one in decide(answered, 9.0) if isinstance(one, Ready) and one.resume)
    assert fact_name(resumed) == "resume.executor.normal.1.1"
    lost = queued_anew(state_of(*BEGUN, asked("1", 1), decided("1", 1), resumed), {TaskId("2")})
    assert names(lost) == ["resume.executor.normal.1.1-1"]


def test_what_nobody_could_read_is_not_queued() -> None:
    fact = meaning("ready.executor.normal.3", "no JSON", 3.0)
    assert fact is not None
    state = folded([*map(stored, BEGUN), Stored("ready.executor.normal.3", fact, 3.0)])
    assert to_be_queued(state) == {"1", "2"}


def test_queueing_anew_is_nothing_that_the_log_decides() -> None:
    (lost,) = queued_anew(state_of(*BEGUN), {TaskId("2")})
    assert not is_decision(lost)
    assert slot_of(lost) is None
    assert decide(state_of(*BEGUN, lost), 9.0) == decide(state_of(*BEGUN), 9.0)


@pytest.mark.parametrize("name", ["resume.executor.normal.1.0-1", "resume.planner.low.1.12-3"])
def test_the_name_tells_the_times_where_the_record_is_unreadable(name: str) -> None:
    fact = meaning(name, "no JSON", 3.0)
    assert isinstance(fact, Ready)
    assert fact_name(fact) == name


@pytest.mark.parametrize("number", ["0", "0-0", "1-", "-1", "01-1", "1-01", "1-1-1", "x-1"])
def test_no_other_name_is_a_time(number: str) -> None:
    assert meaning(f"resume.executor.normal.1.{number}", "no JSON", 3.0) is None
