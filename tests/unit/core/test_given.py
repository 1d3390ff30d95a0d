"""Plans that are given with a job, and plans that a person reviews before anything starts."""

from typing import Any

import msgspec
import pytest

from galerne.core.written import given_tasks, written_plan
from galerne.errors import InvalidInputError
from galerne.messages.facts import Asked, Decided, Verdict
from galerne.messages.ids import TaskId
from galerne.messages.plan import Failed
from unit.core.facts import done, plan_ended, planned, spec
from unit.core.test_revisions import Told


def test_a_given_plan_is_carried_out_without_a_planner() -> None:
    told = Told(plan=(spec("1"), spec("2", "1")))
    assert [type(one).__name__ for one in told.decided] == ["Planned", "Planned", "PlanEnded"]
    assert told.tell() == ["ready.executor.normal.1"]
    told.tell(done("1", "one"))
    told.tell(done("2", "two"))
    assert list(told.ready("answer").inputs) == ["1", "2"]
    assert not any(task.startswith("plan-") for task in told.state.ready)


def test_what_a_dying_coordinator_did_not_write_is_written_by_the_next() -> None:
    told = Told(plan=(spec("1"), spec("2")))
    fresh = Told(plan=(spec("1"), spec("2")))
    del fresh
    assert told.tell(planned(1, "1"), plan_ended(2)) == [
        "ready.executor.normal.1",
        "ready.executor.normal.2",
    ]


def reviewed(verdict: Verdict, value: Any = None, why: str = "") -> Told:
    told = Told(review=True)
    assert told.ready("plan-1").review
    draft = {"tasks": [{"id": "1", "instruction": "look"}], "rejected": []}
    told.tell(done("plan-1", draft))
    (asked,) = told.decided
    assert isinstance(asked, Asked)
    assert (asked.task, asked.n, asked.what) == ("plan-1", 0, "review")
    told.tell(
        Decided(task=TaskId("plan-1"), n=0, verdict=verdict, value=value, why=why, by="ann", at=3.0)
    )
    return told


def test_nothing_starts_before_the_plan_is_approved() -> None:
    told = reviewed("approved")
    assert told.tell() == ["ready.executor.normal.1"]
    assert told.ready("1").task.instruction == "look"


def test_a_person_may_change_the_plan() -> None:
    tasks = [{"id": "b", "instruction": "then", "needs": ["a"]}, {"id": "a", "instruction": "go"}]
    told = reviewed("answered", {"tasks": tasks})
    assert told.tell() == ["ready.executor.normal.a"]
    told.tell(done("a"))
    assert "b" in told.state.ready


def test_a_refused_plan_ends_the_job_and_says_by_whom_and_why() -> None:
    told = reviewed("denied", why="too dear")
    assert (told.end.status, told.end.error) == ("failed", "ann refused the plan: too dear")


def test_a_given_plan_can_be_reviewed_too() -> None:
    told = Told(plan=(spec("1"),), review=True)
    assert [type(one) for one in told.decided] == [Asked]


def test_an_unusable_change_ends_the_job_instead_of_wedging_it() -> None:
    told = reviewed("approved")
    assert told.state.ended is None
    with pytest.raises(InvalidInputError):
        reviewed("answered", {"tasks": []})


def test_needs_come_first_and_references_are_needs() -> None:
    tasks = given_tasks([
        {"id": "3", "kind": "tool", "tool": "add", "args": {"a": {"$ref": "1.n"}, "b": "{{2}}"}},
        {"id": "1", "instruction": "one"},
        {"id": "2", "instruction": "two", "needs": ["1"]},
    ])  # fmt: skip
    assert [task.id for task in tasks] == ["1", "2", "3"]
    assert tasks[2].needs == ("1", "2")


def test_a_list_is_needed_and_its_element_is_not() -> None:
    (_, each) = given_tasks([
        {"id": "1", "instruction": "list"},
        {"id": "2", "kind": "tool", "tool": "read", "args": {"path": {"$ref": "item"}},
         "foreach": {"$ref": "1.files"}},
    ])  # fmt: skip
    assert each.needs == ("1",)


def test_a_task_before_it_that_an_instruction_names_is_needed_and_other_braces_are_text() -> None:
    tasks = given_tasks([
        {"id": "1", "instruction": "{{3}}"},
        {"id": "2", "instruction": "two"},
        {"id": "3", "instruction": "{{1}} or {{ 2.words }}? {{3}} {{x}} {{9}}", "needs": ["2"]},
    ])  # fmt: skip
    assert [task.needs for task in tasks] == [(), (), ("2", "1")]


@pytest.mark.parametrize(
    ("task", "what"),
    [
        ({"depends_on": ["2"]}, "task 1: it has no field 'depends_on'; there are: id, kind, "),
        (
            {"tool": "text_stats", "instruction": ""},
            "task 1: 'tool' and 'args' are for tasks of kind 'tool'",
        ),
        ({"kind": "plan", "args": {}}, "task 1: 'tool' and 'args' are for tasks of kind 'tool'"),
    ],
)
def test_nothing_that_somebody_writes_into_a_plan_is_ignored(
    task: dict[str, Any], what: str
) -> None:
    plan = {"goal": "g", "tasks": [{"id": "1", "instruction": "x", **task}]}
    with pytest.raises(InvalidInputError, match=what):
        written_plan(plan)


def test_the_log_may_hold_what_another_version_has_written() -> None:
    (task,) = given_tasks([{"id": "1", "instruction": "x", "tool": "t", "of_tomorrow": 1}])
    assert task.instruction == "x"


@pytest.mark.parametrize("plan", [(spec("1"), spec("2", "1")), [{"id": "1", "instruction": "x"}]])
def test_a_plan_that_says_nothing_else_is_taken_as_it_is(plan: Any) -> None:
    assert written_plan(plan) == given_tasks(plan)


@pytest.mark.parametrize(
    ("plan", "what"),
    [
        ([], "0 tasks"),
        ("no plan", "not usable"),
        ([object()], "not usable"),
        ([{"id": "1"}], "task 1: its instruction is empty"),
        ([{"id": "a.b", "instruction": "x"}], "not usable: take a number"),
        ([{"id": "plan-1", "instruction": "x"}], "not usable: take a number"),
        ([{"id": "1--2", "instruction": "x"}], "not usable: take a number"),
        ([{"id": "item", "instruction": "x"}], "not usable: take a number"),
        ([{"id": "1", "instruction": "x"}] * 2, "two tasks of the plan have the id '1'"),
        ([{"id": "1", "instruction": "x", "needs": ["9"]}], "needs task '9', which is not there"),
        ([{"id": "1", "instruction": "x", "needs": ["1"]}], "wait for one another"),
        ([{"id": "1", "kind": "tool"}], "names its tool"),
        ([{"id": "1", "instruction": "x", "kind": "answer"}], "by itself"),
        ([{"id": "1", "instruction": "x", "timeout": -1}], "above 0"),
        ([{"id": "1", "instruction": "x", "foreach": {"$ref": "item"}}], "'item', which is not"),
        ([{"id": "1", "instruction": "x", "check": "maybe"}], "task 1: "),
        ([{"id": "1", "instruction": "x", "output": {"type": 7}}], "JSON Schema"),
        ([{"id": "1", "instruction": "x", "replaces": "0"}], "for revisions"),
        ([{"id": "1", "kind": "tool", "tool": "t", "args": {"a": {"$ref": 1.5}}}], "task 1: "),
    ],
)  # fmt: skip
def test_a_wrong_plan_is_told_in_one_line(plan: Any, what: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        given_tasks(plan)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_that_stays_unreadable_ends_the_job() -> None:
    told = Told(plan=(spec("1"), spec("2")))
    odd = msgspec.structs.replace(planned(2, "x"), task=spec(""))
    fresh = Told(plan=(spec("1"), spec("2")))
    fresh.state.planned.clear()
    told.tell(odd)
    assert told.state.spoiled == {1: {2}}


def test_the_failure_of_a_given_plans_task_is_revised_like_any() -> None:
    told = Told(plan=(spec("1"),))
    told.tell()
    fact = done("1")
    told.tell(msgspec.structs.replace(fact, outcome=Failed("tool", "no")))
    assert told.ready("plan-2").failed == ("1",)


def test_numbers_are_taken_for_the_ids_that_they_mean() -> None:
    tasks = written_plan(
        [
            {"id": 1, "kind": "agent", "instruction": "Look."},
            {"id": 2, "kind": "agent", "instruction": "Tell.", "needs": [1]},
        ]
    )
    assert [(task.id, task.needs) for task in tasks] == [("1", ()), ("2", ("1",))]


@pytest.mark.parametrize("levels", [700, 3_000, 100_000])
def test_arguments_too_deep_for_every_reader_are_refused(levels: int) -> None:
    deep: Any = 1
    for _ in range(levels):
        deep = {"a": deep}
    with pytest.raises(InvalidInputError, match=r"levels deep|recursion depth"):
        written_plan([{"id": "1", "kind": "tool", "tool": "echo", "args": {"x": deep}}])
