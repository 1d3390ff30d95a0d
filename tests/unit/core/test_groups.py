"""Tasks that are done through others: lists of any length, nested plans, both in one another."""

from typing import Any

import msgspec
import pytest

from galerne.messages.facts import Asked, Done, PlanEnded, Planned
from galerne.messages.ids import TaskId
from galerne.messages.plan import Budget, Failed, Succeeded, TaskKind
from unit.core.facts import decided, done, failed, plan_ended, planned, spec
from unit.core.test_revisions import Told, instead, revised


def for_each(
    n: int, task: str, foreach: Any, *needs: str, kind: TaskKind = "agent", **fields: Any
) -> Planned:
    one = msgspec.structs.replace(spec(task, *needs, kind=kind), foreach=foreach, **fields)
    return Planned(revision=1, n=n, task=one)


def nested(n: int, task: str, parent: str, *needs: str, **fields: Any) -> Planned:
    one = msgspec.structs.replace(spec(task, *needs), **fields)
    return Planned(revision=1, n=n, task=one, parent=TaskId(parent))


def nested_end(parent: str, count: int) -> PlanEnded:
    return PlanEnded(revision=1, count=count, parent=TaskId(parent))


def value(told: Told, task: str) -> Any:
    outcome = told.state.done[TaskId(task)].outcome
    assert isinstance(outcome, Succeeded)
    return outcome.value


def listed(value: Any, **fields: Any) -> Told:
    """1 gives a list, 2 is done for each element of it, 3 needs 2."""
    told = Told(**fields)
    plan = (planned(1, "1"), for_each(2, "2", {"$ref": "1"}, "1"), planned(3, "3", "2"))
    told.tell(*plan, plan_ended(3), done("plan-1"))
    told.tell(done("1", value))
    return told


def test_a_task_is_done_once_for_each_element_and_gives_the_list() -> None:
    told = listed(["a", "b"])
    assert told.ready("2--0").inputs == {"1": ["a", "b"], "item": "a"}
    assert told.ready("2--1").task.instruction == "do 2"
    assert told.tell(done("2--1", "B")) == []
    assert told.tell(done("2--0", "A")) == ["done.2"]
    assert value(told, "2") == ["A", "B"]
    assert told.tell() == ["ready.executor.normal.3"]
    assert told.ready("3").inputs == {"2": ["A", "B"]}
    told.tell(done("3", "so"))
    assert list(told.ready("answer").inputs) == ["1", "2", "3"]


@pytest.mark.parametrize("empty", [[], "[]", "```json\n[]\n```"])
def test_an_empty_list_is_done_at_once(empty: Any) -> None:
    assert value(listed(empty), "2") == []


def test_a_list_that_a_model_has_written_as_text_is_read() -> None:
    assert listed('```json\n["a", "b"]\n```').ready("2--1").inputs["item"] == "b"


@pytest.mark.parametrize("wrong", ["no list", {"a": 1}, 7, None, list(range(1_001))])
def test_what_is_no_list_fails_the_task_and_not_the_coordinator(wrong: Any) -> None:
    told = listed(wrong, revisions=0)
    told.tell()
    assert told.end.error is not None
    assert told.end.error.startswith("task 2 failed: ")
    assert len(told.end.error) < 200


def test_a_failed_element_can_be_replaced_alone() -> None:
    told = listed(["a", "b", "c"])
    told.tell(done("2--0", "A"), done("2--2", "C"))
    assert told.tell(failed("2--1", "unreadable")) == ["ready.planner.normal.plan-2"]
    standing = {one["task"]["id"]: one["standing"] for one in told.ready("plan-2").inputs["plan"]}
    assert standing == {"1": "succeeded", "2": "running", "3": "waiting", "2--1": "failed"}
    told.tell(instead(1, "2--1--r2", "2--1"), revised(1), done("plan-2"))
    assert told.ready("2--1--r2").inputs == {"item": "b"}
    told.tell(done("2--1--r2", "B"))
    assert value(told, "2") == ["A", "B", "C"]


def test_an_element_that_is_done_without_is_null_and_none_at_all_is_a_failure() -> None:
    told = listed(["a", "b"])
    told.tell(done("2--0", "A"), failed("2--1", "unreadable"))
    told.tell(revised(0, "2--1"), done("plan-2"))
    assert value(told, "2") == ["A", None]
    told = listed(["a"])
    told.tell(failed("2--0", "unreadable"))
    told.tell(revised(0, "2--0"), done("plan-2"))
    assert told.state.failure(TaskId("2")) == Failed(
        "nothing_done", "nothing that it consists of could be done"
    )


def test_a_list_that_is_done_without_stops_its_elements() -> None:
    told = listed(["a", "b"])
    told.tell(failed("2--0", "unreadable"))
    assert "done.2--1" in told.tell(revised(0, "2"), done("plan-2"))


def test_leave_is_asked_once_for_the_whole_list() -> None:
    told = Told()
    told.tell(for_each(1, "1", ["a", "b"], approve=True), plan_ended(1), done("plan-1"))
    assert [type(one) for one in told.decided] == [Asked]
    told.tell(decided("1", 0, 1, "approved"))
    assert {"1--0", "1--1"} <= told.state.under_way


def test_a_nested_plan_is_planned_done_and_gives_what_nobody_in_it_needs() -> None:
    told = Told()
    told.tell(
        planned(1, "1"), planned(2, "2", "1", kind="plan"), planned(3, "3", "2"), plan_ended(3),
        done("plan-1"), done("1", "one"),
    )  # fmt: skip
    ready = told.ready("2--plan")
    assert (ready.lane, ready.task.kind, ready.inputs) == ("planner", "plan", {"1": "one"})
    assert told.tell(nested(1, "2--1", "2", "1")) == ["ready.executor.normal.2--1"]
    assert told.ready("2--1").inputs == {"1": "one"}
    told.tell(nested(2, "2--2", "2", "2--1"), done("2--1", "x"))
    assert told.tell(nested_end("2", 2), done("2--2", "y")) == []
    assert told.tell(done("2--plan")) == ["done.2"]
    assert value(told, "2") == "y"
    assert told.tell() == ["ready.executor.normal.3"]


def test_several_last_tasks_of_a_nested_plan_give_an_object() -> None:
    told = Told()
    told.tell(planned(1, "1", kind="plan"), plan_ended(1), done("plan-1"))
    told.tell(nested(1, "1--a", "1"), nested(2, "1--b", "1"), nested_end("1", 2), done("1--plan"))
    told.tell(done("1--a", 1), done("1--b", 2))
    assert value(told, "1") == {"a": 1, "b": 2}


def test_a_nested_plan_that_cannot_be_written_is_the_failure_of_its_task() -> None:
    told = Told()
    told.tell(planned(1, "1", kind="plan"), plan_ended(1), done("plan-1"))
    assert told.tell(failed("1--plan", "no idea")) == ["done.1"]
    assert told.tell() == ["ready.planner.normal.plan-2"]
    assert told.ready("plan-2").failed == ("1",)


def test_a_nested_task_can_be_replaced_by_a_revision() -> None:
    told = Told()
    told.tell(planned(1, "1", kind="plan"), plan_ended(1), done("plan-1"))
    told.tell(nested(1, "1--1", "1"), nested_end("1", 1), done("1--plan"), failed("1--1"))
    assert told.ready("plan-2").failed == ("1--1",)
    told.tell(instead(1, "1--1--r2", "1--1"), revised(1), done("plan-2"))
    told.tell(done("1--1--r2", "mended"))
    assert value(told, "1") == "mended"
    told.tell()
    assert list(told.ready("answer").inputs) == ["1"]


def test_a_nested_plan_for_each_element_and_no_deeper_than_allowed() -> None:
    told = Told()
    told.tell(for_each(1, "1", ["a"], kind="plan"), plan_ended(1), done("plan-1"))
    assert told.ready("1--0--plan").inputs == {"item": "a"}
    told.tell(nested(1, "1--0--1", "1--0", kind="plan"), nested_end("1--0", 1))
    told.tell(done("1--0--plan"))
    assert told.ready("1--0--1--plan").inputs == {"item": "a"}
    told.tell(nested(1, "1--0--1--1", "1--0--1", kind="plan"))
    failure = told.state.failure(TaskId("1--0--1--1"))
    assert failure is not None
    assert "at most 3 deep" in failure.message


def test_parts_count_against_a_budget_of_tasks() -> None:
    told = Told(budget=Budget(tasks=4))
    told.tell(planned(1, "1"), for_each(2, "2", list("abcdef")), plan_ended(2), done("plan-1"))
    assert told.state.started == {"1", "2--0", "2--1", "2--2"}
    told.tell(*(done(task) for task in ("1", "2--0", "2--1", "2--2")))
    assert told.end.status == "budget_exhausted"


def test_a_task_beside_a_failed_nested_plan_does_not_start() -> None:
    told = Told(revisions=0)
    told.tell(planned(1, "1", kind="plan"), plan_ended(1), done("plan-1"))
    told.tell(nested(1, "1--1", "1"))
    outcome = Failed("tool", "no")
    fact = Done(
        task=TaskId("1--plan"), outcome=outcome, usage=told.state.usage(), by="w", attempt=1, at=1.0
    )
    told.tell(fact)
    told.tell()
    assert told.end.error == "task 1 failed: it could not be planned: no"
