"""What people, budgets and the clock decide about a job."""

from typing import Any

import msgspec
import pytest

from galerne.core.answers import check_answer, check_schema
from galerne.core.asks import arguments_hash, check_verdict, parse_call
from galerne.core.decide import decide, due, due_of_job, overdue
from galerne.core.rules import Rules
from galerne.core.state import JobState
from galerne.errors import InvalidInputError
from galerne.messages.facts import (
    AnyFact,
    Asked,
    Decided,
    Done,
    Ended,
    Question,
    Ready,
    Submitted,
    Verdict,
)
from galerne.messages.ids import TaskId
from galerne.messages.plan import Budget, Failed, Succeeded, TaskSpec
from galerne.messages.subjects import fact_name
from unit.core.facts import (
    JOB,
    asked,
    claimed,
    decided,
    done,
    folded,
    plan_ended,
    planned,
    ready,
    stored,
    submitted,
)

NOW = 9.0


def job(**fields: Any) -> Submitted:
    return Submitted(job=msgspec.structs.replace(JOB, **fields), at=1.0)


def with_spec(task: str, *needs: str, **fields: Any) -> AnyFact:
    one = planned(int(task), task, *needs)
    return msgspec.structs.replace(one, task=msgspec.structs.replace(one.task, **fields))


def state_of(*facts: AnyFact) -> JobState:
    return folded(stored(fact) for fact in facts)


def names(facts: list[AnyFact]) -> list[str]:
    return [fact_name(fact) for fact in facts]


BEGUN: tuple[AnyFact, ...] = (submitted(), ready("plan-1", kind="plan", lane="planner"))


# people


def test_an_ask_task_asks_and_its_answer_is_its_value() -> None:
    question = with_spec("1", kind="ask", output={"type": "string"}, timeout=60.0)
    (ask,) = decide(state_of(*BEGUN, question), NOW)
    assert isinstance(ask, Asked)
    assert (fact_name(ask), ask.what, ask.question) == ("ask.1.0.1", "question", "do 1")
    assert (ask.output, ask.until) == ({"type": "string"}, NOW + 60)
    assert decide(state_of(*BEGUN, question, ask), NOW) == []
    answer = decided("1", 0, verdict="answered", value="drafts")
    (outcome,) = decide(state_of(*BEGUN, question, ask, answer), NOW)
    assert isinstance(outcome, Done)
    assert outcome.outcome == Succeeded("drafts")


@pytest.mark.parametrize(
    ("verdict", "code"), [("denied", "denied"), ("expired", "expired"), ("happened", "denied")]
)
def test_a_question_without_an_answer_fails_its_task(verdict: Verdict, code: str) -> None:
    question = with_spec("1", kind="ask")
    word = decided("1", 0, verdict=verdict)
    (outcome,) = decide(state_of(*BEGUN, question, asked("1", 0, what="question"), word), NOW)
    assert isinstance(outcome, Done)
    assert isinstance(outcome.outcome, Failed)
    assert outcome.outcome.code == code


def test_a_task_that_wants_leave_starts_when_it_is_given() -> None:
    spec = {"kind": "tool", "tool": "send", "args": {"to": {"$ref": "1"}}, "approve": True}
    log: tuple[AnyFact, ...] = (
        *BEGUN,
        planned(1, "1"),
        ready("1"),
        done("1", "ann"),
        with_spec("2", "1", **spec),
    )
    (ask,) = decide(state_of(*log), NOW, Rules(ask_timeout=100.0))
    assert isinstance(ask, Asked)
    assert (ask.tool, ask.arguments, ask.until) == ("send", {"to": "ann"}, NOW + 100)
    assert ask.hash == arguments_hash("send", {"to": "ann"})
    assert decide(state_of(*log, ask), NOW) == []
    assert names(decide(state_of(*log, ask, decided("2", 0)), NOW)) == ["ready.executor.normal.2"]


def test_each_answer_about_a_step_queues_its_task_anew() -> None:
    log: tuple[AnyFact, ...] = (*BEGUN, planned(1, "1"), ready("1"), claimed("1"), asked("1", 2))
    assert decide(state_of(*log), NOW) == []
    (again,) = decide(state_of(*log, decided("1", 2)), NOW)
    assert isinstance(again, Ready)
    assert (fact_name(again), again.task.id) == ("resume.executor.normal.1.1", "1")
    assert decide(state_of(*log, decided("1", 2), again), NOW) == []
    more: tuple[AnyFact, ...] = (
        *log,
        decided("1", 2),
        again,
        asked("1", 2, 2, what="doubt"),
        decided("1", 2, 2),
    )
    assert names(decide(state_of(*more), NOW)) == ["resume.executor.normal.1.2"]
    assert decide(state_of(*more, done("1"), planned(2, "2"), ready("2")), NOW) == []


@pytest.mark.parametrize(
    ("what", "verdict", "fits"),
    [
        ("approval", "denied", True),
        ("approval", "answered", False),
        ("doubt", "not_happened", True),
        ("doubt", "approved", False),
        ("question", "answered", True),
        ("question", "happened", False),
        ("question", "expired", False),
    ],
)
def test_a_word_must_fit_the_question(what: Question, verdict: Verdict, fits: bool) -> None:
    if fits:
        check_verdict(asked("1", what=what), verdict, None)
    else:
        with pytest.raises(InvalidInputError, match="not " + verdict):
            check_verdict(asked("1", what=what), verdict, None)


def test_leave_is_bound_to_the_arguments() -> None:
    wanted = arguments_hash("send", {"a": 1, "b": [2, {"c": "é"}]})
    assert wanted == arguments_hash("send", {"b": [2, {"c": "é"}], "a": 1})
    assert wanted != arguments_hash("send", {"a": 1, "b": [2, {"c": "e"}]})
    assert wanted != arguments_hash("sent", {"a": 1, "b": [2, {"c": "é"}]})
    ask = msgspec.structs.replace(asked("1"), hash=wanted)
    check_verdict(ask, "approved", wanted)
    with pytest.raises(InvalidInputError, match="other arguments"):
        check_verdict(ask, "approved", None)


@pytest.mark.parametrize("text", ["", ".", "1.", "1.x", "a b.1", "1.-2", "1.2.3"])
def test_a_call_is_named_by_task_and_step(text: str) -> None:
    assert parse_call("plan-1.12") == ("plan-1", 12)
    assert parse_call("3") == ("3", 0)
    with pytest.raises(InvalidInputError, match=r"TASK\.STEP"):
        parse_call(text)


def test_an_answer_is_typed_by_the_schema_of_its_task() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    check_answer({"n": 3}, schema)
    check_answer("anything", None)
    with pytest.raises(InvalidInputError, match=r'\$\.n: "three" is not of type "integer"'):
        check_answer({"n": "three"}, schema)
    with pytest.raises(InvalidInputError, match="own schema is not usable"):
        check_answer(1, {"$ref": "http://127.0.0.1:9/schema.json"})
    with pytest.raises(InvalidInputError, match="own schema is not usable"):
        check_answer(1, {"type": "nonsense"})


EVIL = "^(a+)+$"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": EVIL},
        {"type": "object", "patternProperties": {EVIL: {}}, "additionalProperties": False},
        {"type": "object", "propertyNames": {"pattern": EVIL}},
    ],
)
def test_no_pattern_keeps_whoever_checks_an_answer_busy(schema: dict[str, Any]) -> None:
    """With a backtracking matcher each of these would take longer than the tests may."""
    check_schema(schema)
    long = "a" * 50_000 + "!"
    with pytest.raises(InvalidInputError, match="does not fit"):
        check_answer(long if schema["type"] == "string" else {long: 1}, schema)


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "(a{1000}){1000}", "("])
def test_a_pattern_that_cannot_be_matched_in_linear_time_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInputError, match=r'no usable JSON Schema: .*"regex"'):
        check_schema({"type": "string", "pattern": pattern})


def test_a_schema_too_deep_to_look_through_is_refused() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(2_000):
        schema = {"allOf": [schema]}
    with pytest.raises(InvalidInputError, match="no usable JSON Schema"):
        check_schema(schema)


# budgets


def out_of_calls(task: str) -> Done:
    outcome = Failed("budget_exhausted", "the budget of 7 model calls is used up")
    return msgspec.structs.replace(done(task), outcome=outcome)


def test_what_runs_may_finish_when_the_budget_is_gone() -> None:
    running: tuple[AnyFact, ...] = (
        ready("1"),
        ready("2"),
        ready("3"),
        done("1", "one"),
        out_of_calls("2"),
    )
    tasks = [planned(n, str(n)) for n in range(1, 5)]
    log: tuple[AnyFact, ...] = (
        job(budget=Budget(calls=7)),
        BEGUN[1],
        *tasks,
        plan_ended(4),
        done("plan-1"),
        *running,
    )
    assert decide(state_of(*log), NOW) == [], "4 must not start, 3 may finish"
    (ended,) = decide(state_of(*log, done("3", "three")), NOW)
    assert isinstance(ended, Ended)
    assert (ended.status, ended.error) == (
        "budget_exhausted", "the budget of 7 model calls is used up",
    )  # fmt: skip
    assert ended.result == {"results": {"1": "one", "3": "three"}}


def test_a_failure_counts_more_than_an_empty_purse() -> None:
    log: tuple[AnyFact, ...] = (
        *BEGUN,
        planned(1, "1"),
        planned(2, "2"),
        ready("1"),
        ready("2"),
        out_of_calls("1"),
    )
    failed = msgspec.structs.replace(done("2"), outcome=Failed("tool", "no such file"))
    (ended,) = decide(state_of(*log, failed), NOW)
    assert isinstance(ended, Ended)
    assert (ended.status, ended.error) == ("failed", "task 2 failed: no such file")


def test_who_waits_for_a_person_does_not_keep_a_broke_job_open() -> None:
    planning = (plan_ended(2), done("plan-1"))
    tasks: tuple[AnyFact, ...] = (
        planned(1, "1"),
        planned(2, "2"),
        *planning,
        ready("1"),
        ready("2"),
    )
    log: tuple[AnyFact, ...] = (*BEGUN, *tasks, asked("1"), out_of_calls("2"))
    (ended,) = decide(state_of(*log), NOW)
    assert isinstance(ended, Ended)
    assert ended.status == "budget_exhausted"


def test_so_many_tasks_and_no_more() -> None:
    tasks = [planned(n, str(n)) for n in range(1, 5)]
    log: tuple[AnyFact, ...] = (
        job(budget=Budget(tasks=2)),
        BEGUN[1],
        *tasks,
        plan_ended(4),
        done("plan-1"),
    )
    facts = decide(state_of(*log), NOW)
    assert names(facts) == ["ready.executor.normal.1", "ready.executor.normal.2"]
    assert decide(state_of(*log, *facts, done("1")), NOW) == []
    (ended,) = decide(state_of(*log, *facts, done("1"), done("2")), NOW)
    assert isinstance(ended, Ended)
    assert (ended.status, ended.error) == ("budget_exhausted", "the budget of 2 tasks is used up")


def test_the_first_tasks_of_the_plan_have_the_places() -> None:
    """Whoever misses an earlier task, as a coordinator may for a moment, starts no later one."""
    begun = (job(budget=Budget(tasks=2)), BEGUN[1])
    late = (with_spec("2", "1"), planned(3, "3"))
    assert decide(state_of(*begun, *late), NOW) == []
    assert names(decide(state_of(*begun, planned(1, "1"), *late), NOW)) == [
        "ready.executor.normal.1"
    ]


def test_a_question_among_the_first_tasks_is_waited_for() -> None:
    question = with_spec("1", kind="ask")
    log = (job(budget=Budget(tasks=2)), BEGUN[1], question, planned(2, "2"), planned(3, "3"))
    (ask, *_) = decide(state_of(*log), NOW)
    assert isinstance(ask, Asked)
    asking = (*log, plan_ended(3), done("plan-1"), ask, ready("2"), done("2"))
    assert decide(state_of(*asking), NOW) == []
    answer = decided("1", 0, verdict="answered", value="drafts")
    (outcome,) = decide(state_of(*asking, answer), NOW)
    (ended,) = decide(state_of(*asking, answer, outcome), NOW)
    assert isinstance(ended, Ended)
    assert ended.status == "budget_exhausted"
    assert ended.result == {"results": {"1": "drafts", "2": "fine"}}


@pytest.mark.parametrize(
    "word", [decided("1", 1, verdict="approved"), decided("1", 1, verdict="expired")]
)
def test_an_answered_task_goes_on_although_the_budget_is_gone(word: AnyFact) -> None:
    """It is under way, so the job waits for it."""
    log = (
        *BEGUN, planned(1, "1"), planned(2, "2"), planned(3, "3"), plan_ended(3), done("plan-1"),
        *(ready(task) for task in "123"), asked("1", 1), out_of_calls("2"), word,
    )  # fmt: skip
    (again,) = decide(state_of(*log), NOW)
    assert isinstance(again, Ready)
    assert (again.task.id, again.resume) == ("1", 1)
    (ended,) = decide(state_of(*log, again, done("3"), done("1")), NOW)
    assert isinstance(ended, Ended)
    assert ended.status == "budget_exhausted"


# the clock


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"deadline": NOW}, "deadline_exceeded"),
        ({"budget": Budget(seconds=8.0)}, "budget_exhausted"),
        ({"budget": Budget(seconds=99.0), "deadline": NOW - 1}, "deadline_exceeded"),
    ],
)
def test_a_job_whose_time_is_over_ends_with_what_it_has(
    fields: dict[str, Any], status: str
) -> None:
    log: tuple[AnyFact, ...] = (
        job(**fields),
        BEGUN[1],
        planned(1, "1"),
        ready("1"),
        done("1", "one"),
    )
    state = state_of(*log)
    when = due_of_job(state)
    assert when is not None
    assert names(decide(state, when - 0.5)) == []
    (ended,) = decide(state, when)
    assert isinstance(ended, Ended)
    assert (ended.status, ended.result) == (status, {"results": {"1": "one"}})


def test_a_job_without_limits_has_no_timer() -> None:
    assert due_of_job(state_of(*BEGUN)) is None
    assert due(ready("1")) is None


def test_a_task_has_its_own_deadline_from_when_it_may_start() -> None:
    log: tuple[AnyFact, ...] = (*BEGUN, with_spec("1", timeout=5.0))
    (begun,) = decide(state_of(*log), NOW)
    assert isinstance(begun, Ready)
    assert (begun.deadline, due(begun)) == (NOW + 5, NOW + 5)
    state = state_of(*log, begun)
    assert overdue(state, NOW + 4.9) == []
    (late,) = overdue(state, NOW + 5)
    assert isinstance(late, Done)
    assert isinstance(late.outcome, Failed)
    assert late.outcome.code == "deadline"
    assert overdue(state_of(*log, begun, done("1")), NOW + 99) == []


def test_a_question_nobody_answers_expires() -> None:
    log: tuple[AnyFact, ...] = (
        *BEGUN,
        planned(1, "1"),
        ready("1"),
        asked("1", until=20.0),
        asked("1", 2),
    )
    assert due(asked("1", until=20.0)) == 20.0
    assert overdue(state_of(*log), 19.9) == []
    (expired,) = overdue(state_of(*log), 20.0)
    assert isinstance(expired, Decided)
    assert (fact_name(expired), expired.verdict) == ("decided.1.1.1", "expired")
    assert overdue(state_of(*log, expired), 99.0) == []


def test_nothing_is_late_in_a_job_that_is_over() -> None:
    ended = Ended(status="failed", usage=done("1").usage, at=8.0)
    log: tuple[AnyFact, ...] = (*BEGUN, planned(1, "1"), ready("1"), asked("1", until=2.0), ended)
    assert overdue(state_of(*log), NOW) == []
    assert due_of_job(state_of(job(deadline=3.0), ended)) is None


def test_thousands_of_results_still_fit_into_an_answer() -> None:
    tasks = [planned(n, str(n)) for n in range(1, 5_001)]
    outcomes = [done(str(n), "result " * 20) for n in range(1, 5_001)]
    log: tuple[AnyFact, ...] = (*BEGUN, *tasks, plan_ended(5_000), done("plan-1"), *outcomes)
    (answer,) = decide(state_of(*log), NOW)
    assert isinstance(answer, Ready)
    assert len(msgspec.json.encode(answer)) < 400_000
    assert "more tasks" in answer.inputs["more"]["value"]
    assert answer.task == TaskSpec(
        id=TaskId("answer"),
        kind="answer",
        needs=tuple(TaskId(str(n)) for n in range(1, 5_001)),
    )
