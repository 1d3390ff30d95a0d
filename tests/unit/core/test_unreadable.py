"""What bytes that are no fact mean, under any name."""

from hypothesis import given, settings
from hypothesis import strategies as st

from galerne.core.unreadable import meaning
from galerne.messages.facts import Cancelled, Done, Ended, Ready
from galerne.messages.plan import Failed
from galerne.messages.subjects import fact_name
from unit.core.facts import Stored, done, folded, names, planned, ready, stored, submitted


@given(names | st.text(), st.text(max_size=400))
@settings(max_examples=300)
def test_any_name_has_a_meaning_that_stands_under_it_or_none(name: str, error: str) -> None:
    fact = meaning(name, error, 3.0)
    if fact is not None:
        assert fact_name(fact) == name


def test_whoever_waits_for_an_outcome_gets_a_failure_that_says_why() -> None:
    fact = meaning("done.1", "no JSON" * 100, 3.0)
    assert isinstance(fact, Done)
    assert isinstance(fact.outcome, Failed)
    assert (fact.outcome.code, fact.at) == ("invalid_message", 3.0)
    assert fact.outcome.message.startswith("its record in the log is unreadable (no JSON")
    assert len(fact.outcome.message) < 300


def test_a_ready_task_counts_as_ready_where_a_worker_will_refuse_it() -> None:
    fact = meaning("ready.planner.low.1", "no JSON", 3.0)
    assert isinstance(fact, Ready)
    assert (fact.lane, fact.priority, fact.task.id) == ("planner", "low", "1")


def test_a_task_that_stands_ready_in_a_lane_that_nobody_serves_is_not_ready() -> None:
    for name in ("ready.weird.normal.1", "ready.executor.soon.1", "ready.executor.normal.1.2",
                 "ready.executor.1", "ready.1", "ready", "ready.executor.normal."):  # fmt: skip
        assert meaning(name, "no JSON", 3.0) is None


def test_unreadable_cancel_and_end_are_taken_at_their_name() -> None:
    assert isinstance(meaning("cancel", "no JSON", 3.0), Cancelled)
    ended = meaning("end", "no JSON", 3.0)
    assert isinstance(ended, Ended)
    assert ended.status == "failed"


def test_nobody_waits_for_the_others() -> None:
    for fact in (submitted(), stored(done("a.b")).fact, ready("")):
        assert meaning(fact_name(fact), "no JSON", 3.0) is None
    for name in ("", ".", "cancel.1", "end.1", "done", "done.", "run.1", "step.1.1", "plan.1.end"):
        assert meaning(name, "no JSON", 3.0) is None
    assert folded([]) == folded([])


def test_what_cannot_be_read_leaves_its_place_in_the_plan_empty() -> None:
    fact = meaning("plan.1.2", "no JSON", 3.0)
    assert fact is not None
    state = folded([stored(submitted()), stored(planned(1, "1")), Stored("plan.1.2", fact, 3.0)])
    assert (state.numbers, state.spoiled, list(state.planned)) == ({1: {1}}, {1: {2}}, ["1"])
