"""`fold`: a job's state is a function of the set of its facts, and its indexes are right."""

import msgspec
from hypothesis import example, given, settings

from galerne.core.fold import fold
from galerne.core.state import JobState
from galerne.messages.ids import TaskId
from galerne.messages.plan import ModelUsage, Usage
from unit.core.facts import (
    Stored,
    claimed,
    done,
    failed,
    folded,
    logs,
    plan_ended,
    planned,
    ready,
    retellings,
    stored,
    submitted,
)
from unit.core.recomputed import recomputed

TWO_PLACES = [stored(planned(2, "1", "2")), stored(planned(1, "1"))]
TWO_LANES = [stored(ready("1", lane="planner")), stored(ready("1", kind="tool"))]
GIVEN_BACK = [stored(claimed("1", until=20.0)), stored(claimed("1", until=0.0, note="stopped"))]
TIE = [stored(claimed("1", by="ann")), stored(claimed("1", by="bob"))]
RESERVED = [stored(planned(1, "answer")), stored(planned(2, "a.b")), stored(plan_ended(2))]


@given(retellings())
@settings(max_examples=400)
@example((TWO_PLACES, TWO_PLACES[::-1]))
@example((TWO_LANES, TWO_LANES[::-1]))
@example((GIVEN_BACK, GIVEN_BACK[::-1]))
@example((TIE, TIE[::-1]))
def test_any_order_and_repetition_gives_the_same_state(
    told: tuple[list[Stored], list[Stored]],
) -> None:
    log, again = told
    assert _fields(folded(again)) == _fields(folded(log))


@given(logs())
@settings(max_examples=400)
@example(TWO_PLACES)
@example(TWO_LANES)
@example(GIVEN_BACK)
@example(RESERVED)
def test_the_state_is_what_a_slow_recomputation_gives(log: list[Stored]) -> None:
    assert _fields(folded(log)) == _fields(recomputed(log))


@given(logs(max_size=12))
@settings(max_examples=100)
def test_the_indexes_are_right_after_each_single_fact(log: list[Stored]) -> None:
    state = JobState()
    for n, one in enumerate(log, 1):
        fold(state, one.fact, one.at)
        assert _fields(state) == _fields(recomputed(log[:n]))


def test_two_states_share_nothing() -> None:
    state = folded([stored(submitted()), stored(planned(1, "1", "2")), stored(done("3"))])
    assert state != JobState()
    assert _fields(JobState()) == _fields(recomputed([]))


def test_a_task_may_start_when_its_last_need_has_succeeded() -> None:
    log = [stored(planned(1, "1")), stored(planned(2, "2")), stored(planned(3, "3", "1", "2"))]
    assert folded(log).startable == {"1", "2"}
    assert folded([*log, stored(done("1"))]).startable == {"2"}
    assert folded([*log, stored(done("1")), stored(done("2"))]).startable == {"3"}
    lost = folded([*log, stored(failed("1")), stored(done("2"))])
    assert (lost.startable, lost.failed, lost.unfinished) == (set(), {"1"}, {"1", "3"} - {"1"})


def test_ids_that_only_the_runtime_may_use_or_no_subject_can_hold_are_not_planned() -> None:
    state = folded(RESERVED)
    assert not state.planned
    assert not state.numbers
    assert not folded([stored(ready("a.b"))]).under_way


def test_usage_is_the_sum_over_outcomes() -> None:
    state = folded([stored(done("1", calls=2)), stored(done("2", calls=3)), stored(done("3"))])
    assert state.usage() == Usage(models={"small": ModelUsage(calls=5)})
    assert state.succeeded(TaskId("1"))
    assert not state.succeeded(TaskId("9"))


def _fields(state: JobState) -> dict[str, object]:
    return msgspec.structs.asdict(state)
