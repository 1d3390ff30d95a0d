"""`decide`: what the log lacks, told case by case, and what holds for whatever a log may hold."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from galerne.core.decide import decide
from galerne.core.fold import fold
from galerne.core.rules import Rules
from galerne.core.shorten import shorten
from galerne.core.starts import INPUT_LIMIT
from galerne.core.state import JobState
from galerne.messages.codec import encode
from galerne.messages.facts import AnyFact, Asked, Cancelled, Decided, Done, Ended, Planned, Ready
from galerne.messages.ids import TaskId
from galerne.messages.plan import ModelUsage, Usage
from galerne.messages.subjects import fact_name
from unit.core.facts import (
    JOB,
    PLAN,
    Stored,
    done,
    failed,
    folded,
    logs,
    plan_ended,
    planned,
    ready,
    retellings,
    spec,
    stored,
    submitted,
)

BEGUN: list[AnyFact] = [submitted(), ready("plan-1", kind="plan", lane="planner")]
PLAN_DONE: list[AnyFact] = [plan_ended(2), done("plan-1", {"tasks": 2})]
TWO: list[AnyFact] = [*BEGUN, planned(1, "1"), planned(2, "2", "1", kind="tool"), *PLAN_DONE]
BOTH_DONE: list[AnyFact] = [done("1"), done("2")]
SWAPPED = [stored(planned(2, "2")), stored(planned(1, "1"))]


def _lacking(*facts: AnyFact) -> list[AnyFact]:
    return decide(folded(stored(fact) for fact in facts), now=9.0)


def _ready(*facts: AnyFact) -> dict[str, Ready]:
    return {fact.task.id: fact for fact in _lacking(*facts) if isinstance(fact, Ready)}


def _end(*facts: AnyFact) -> Ended:
    (fact,) = _lacking(*facts)
    assert isinstance(fact, Ended)
    return fact


# a job's way


def test_nothing_is_decided_about_a_job_that_was_never_submitted() -> None:
    assert _lacking(planned(1, "1"), Cancelled(why="enough", at=1.0), done("plan-1")) == []


def test_a_new_job_is_planned() -> None:
    assert _lacking(submitted("high")) == [
        Ready(
            lane="planner",
            priority="high",
            task=msgspec.structs.replace(spec("plan-1", kind="plan"), instruction=""),
            goal=JOB.goal,
            inputs=JOB.inputs,
        )
    ]


def test_a_task_starts_while_the_plan_is_still_being_written() -> None:
    found = _ready(*BEGUN, planned(1, "1"), planned(2, "2", "1"))
    assert list(found) == ["1"]
    assert (found["1"].lane, found["1"].inputs) == ("executor", {})


def test_ready_tasks_come_in_the_order_of_the_plan() -> None:
    facts = [planned(n, task) for n, task in ((3, "1"), (1, "3"), (2, "2"))]
    assert list(_ready(*BEGUN, *facts)) == ["3", "2", "1"]


def test_a_tool_gets_its_needs_results_whole() -> None:
    value = {"words": ["x" * 9] * INPUT_LIMIT}
    assert _ready(*TWO, ready("1"), done("1", value))["2"].inputs == {"1": value}


def test_a_model_gets_its_needs_results_fitted_to_its_context() -> None:
    graph = [planned(1, "1"), planned(2, "2"), planned(3, "3", "1", "2"), *PLAN_DONE]
    values = [done("1", "x" * INPUT_LIMIT), done("2", {"words": 7})]
    inputs = _ready(*BEGUN, *graph, *values)["3"].inputs
    assert inputs == {"1": shorten("x" * INPUT_LIMIT, INPUT_LIMIT // 2), "2": {"words": 7}}
    assert len(inputs["1"]) < INPUT_LIMIT


def test_the_answer_waits_for_the_plan_and_for_every_task() -> None:
    without_plan = [fact for fact in TWO if fact != PLAN_DONE[1]]
    assert not _lacking(*without_plan, *BOTH_DONE)
    assert list(_ready(*TWO, done("1"))) == ["2"]
    assert list(_ready(*TWO, *BOTH_DONE)) == ["answer"]


def test_the_answer_is_told_what_each_task_was_and_gave() -> None:
    answer = _ready(*TWO, *BOTH_DONE)["answer"]
    assert (answer.lane, answer.task.kind, answer.task.needs) == ("planner", "answer", ("1", "2"))
    assert answer.inputs == {
        "1": {"instruction": "do 1", "value": "fine"},
        "2": {"instruction": 'text_stats {"path":"2"}', "value": "fine"},
    }


def test_a_plan_without_tasks_is_answered_at_once() -> None:
    answer = _ready(*BEGUN, plan_ended(0), done("plan-1"))["answer"]
    assert (answer.task.needs, answer.inputs) == ((), {})


def test_the_answer_ends_the_job() -> None:
    usage = Usage(models={"small": ModelUsage(calls=3)})
    ended = _end(*TWO, done("1", calls=2), done("2"), done("answer", "42", calls=1))
    assert ended == Ended(status="succeeded", usage=usage, at=9.0, result="42")


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ((*TWO, failed("1")), "task 1 failed: no such file"),
        ((*TWO, failed("2", at=2.0), failed("1", at=3.0)), "task 2 failed: no such file"),
        ((*TWO, failed("2"), failed("1")), "task 1 failed: no such file"),
        ((*BEGUN, failed("plan-1", "no model")), "planning failed: no model"),
        ((*TWO, *BOTH_DONE, failed("answer")), "task answer failed: no such file"),
        ((*TWO, plan_ended(3)), "the plan is incomplete: some of its tasks could not be read"),
        (
            (*BEGUN, planned(1, "1", "2"), planned(2, "2", "1"), *PLAN_DONE),
            "tasks 1, 2 wait for one another or for tasks that nobody planned",
        ),
        (
            (*BEGUN, planned(1, "1", "ghost"), planned(2, "2"), done("2"), *PLAN_DONE),
            "tasks 1 wait for one another or for tasks that nobody planned",
        ),
        (
            (*BEGUN, planned(1, "1", "ghost"), plan_ended(1), PLAN_DONE[1], ready("a.b")),
            "tasks 1 wait for one another or for tasks that nobody planned",
        ),
        (
            (*BEGUN, planned(1, "answer"), planned(2, "2"), *PLAN_DONE),
            "the plan is incomplete: some of its tasks could not be read",
        ),
    ],
)
def test_a_job_that_cannot_succeed_ends_failed(facts: tuple[AnyFact, ...], error: str) -> None:
    ended = _end(*facts)
    assert (ended.status, ended.error, ended.result) == ("failed", error, None)


def test_a_broken_part_of_the_plan_waits_for_what_is_under_way() -> None:
    graph = [planned(1, "1", "ghost"), planned(2, "2"), ready("2"), *PLAN_DONE]
    assert _lacking(*BEGUN, *graph) == []
    assert _end(*BEGUN, *graph, done("2")).status == "failed"


def test_a_cancelled_job_ends_even_when_its_answer_is_there() -> None:
    cancelled = Cancelled(why="enough", at=3.0)
    for facts in (BEGUN, [*TWO, done("answer")], [*TWO, failed("1")]):
        ended = _end(*facts, cancelled)
        assert (ended.status, ended.error) == ("cancelled", "enough")


def test_after_the_end_nothing_is_lacking() -> None:
    ended = Ended(status="cancelled", usage=Usage(), at=2.0)
    assert _lacking(*TWO, done("1"), Cancelled(why="enough", at=3.0), ended) == []


def test_a_task_may_be_tried_as_often_as_the_settings_say() -> None:
    state = folded([stored(submitted())])
    (fact,) = decide(state, 0.0, Rules(max_attempts=7))
    assert isinstance(fact, Ready)
    assert fact.max_attempts == 7


# any log


@given(retellings())
@settings(max_examples=250)
def test_the_same_facts_decide_the_same(told: tuple[list[Stored], list[Stored]]) -> None:
    log, again = told
    first = stored(submitted())
    assert decide(folded([*again, first]), 9.0) == decide(folded([first, *log]), 9.0)


@given(retellings())
@settings(max_examples=250)
@example((SWAPPED, SWAPPED[::-1]))
def test_the_same_facts_ask_for_the_same_answer(told: tuple[list[Stored], list[Stored]]) -> None:
    """To the byte: the sections of the model's request follow the order of the inputs."""
    log, again = ([one for one in facts if _is_harmless(one)] for facts in told)
    rest = [stored(submitted()), *(stored(done(task)) for task in (PLAN, *folded(log).planned))]
    answers = [decide(folded([*rest, *facts]), 9.0) for facts in (log, again)]
    assert encode(answers[0]) == encode(answers[1])
    assert [fact_name(fact) for fact in answers[0]] == ["ready.planner.normal.answer"]


def _is_harmless(one: Stored) -> bool:
    if isinstance(one.fact, Ready):
        return one.fact.task.id != "answer" and not one.fact.failed
    return isinstance(one.fact, Planned) and one.fact.task.replaces is None


@given(logs())
@settings(max_examples=250)
def test_one_round_of_decisions_settles_everything_and_repeats_nothing(log: list[Stored]) -> None:
    """An outcome among them is like one of a worker's: what follows from it is a next round."""
    state = folded([stored(submitted()), *log])
    names: list[str] = []
    for _ in range(30):
        had_ready, had_done, had_ended = set(state.ready), set(state.done), state.ended is not None
        lacking = decide(state, 9.0)
        names += [fact_name(fact) for fact in lacking]
        assert len(set(names)) == len(names)
        assert not (had_ended and lacking)
        for fact in lacking:
            if isinstance(fact, Ready):
                assert fact.task.id not in had_done
                assert (fact.task.id in had_ready) == (fact.resume > 0)
            fold(state, fact, 9.0)
        if not any(isinstance(fact, Done) for fact in lacking):
            break
    assert decide(state, 9.0) == []


@given(logs())
@settings(max_examples=250)
def test_a_job_goes_on_or_ends_whatever_its_log_holds(log: list[Stored]) -> None:
    """Somebody always has something to do: whoever does what is ready comes to the end."""
    state = folded([stored(submitted()), *log])
    for _ in range(30):
        decided = decide(state, 9.0)
        _fold_all(state, decided)
        if state.ended is not None:
            return
        people = [_word(ask) for ask in state.asks.open_in_order()]
        settled = any(isinstance(fact, Done) for fact in decided)
        assert settled or state.under_way or people, (
            "nobody has anything to do, and the job has not ended"
        )
        _fold_all(state, [*people, *(done(task) for task in sorted(state.under_way))])
    raise AssertionError("the job goes on for ever")


def _word(ask: Asked) -> Decided:
    """What a person might say."""
    return Decided(
        task=ask.task, n=ask.n, round=ask.round, verdict="approved", by="somebody", at=9.0
    )


def _fold_all(state: JobState, facts: list[AnyFact]) -> None:
    for fact in facts:
        fold(state, fact, 9.0)


# fitting results to a model


@given(
    st.recursive(
        st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=8,
    ),
    st.integers(0, 40),
)
@settings(max_examples=150)
def test_a_value_that_fits_stays_as_it_is_and_another_is_cut_with_a_mark(
    value: Any, limit: int
) -> None:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    short = shorten(value, limit)
    if len(text) <= limit:
        assert short is value
    else:
        assert short.startswith(text[:limit])
        assert short[limit:] == f"\n[… shortened: {len(text) - limit} more characters]"


def test_a_task_that_nobody_planned_has_no_spec() -> None:
    state = folded(stored(fact) for fact in TWO)
    assert state.spec(TaskId("1")) == spec("1")
    assert state.spec(TaskId("answer")) is None
