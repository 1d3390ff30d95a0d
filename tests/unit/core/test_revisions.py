"""A failure is mended by a revision of the plan: what goes on, what goes, and when it is enough."""

from typing import Any

import msgspec
import pytest

from galerne.core.decide import decide
from galerne.core.fold import fold
from galerne.core.state import JobState
from galerne.core.view import view
from galerne.messages.facts import AnyFact, Done, Ended, PlanEnded, Planned, Ready
from galerne.messages.ids import TaskId
from galerne.messages.plan import DROPPED, Failed, TaskSpec, Usage
from galerne.messages.subjects import fact_name
from unit.core.facts import JOB, done, failed, plan_ended, planned, spec, submitted


class Told:
    """A job to which things happen one after the other, with its coordinator's decisions."""

    def __init__(self, revisions: int | None = 3, **fields: Any) -> None:
        self.state = JobState()
        job = msgspec.structs.replace(JOB, revisions=revisions, **fields)
        self.decided: list[AnyFact] = []
        self.tell(msgspec.structs.replace(submitted(), job=job))

    def tell(self, *facts: AnyFact) -> list[str]:
        """What is decided after all of these, by name."""
        for fact in facts:
            fold(self.state, fact, 1.0)
        self.decided = decide(self.state, 1.0)
        for fact in self.decided:
            fold(self.state, fact, 1.0)
        return sorted(fact_name(fact) for fact in self.decided)

    def ready(self, task: str) -> Ready:
        return self.state.ready[TaskId(task)]

    @property
    def end(self) -> Ended:
        assert self.state.ended is not None
        return self.state.ended


def instead(n: int, new: str, old: str, *needs: str, revision: int = 2) -> Planned:
    task = msgspec.structs.replace(spec(new, *needs), replaces=TaskId(old))
    return Planned(revision=revision, n=n, task=task)


def revised(count: int, *dropped: str, revision: int = 2, gave_up: str | None = None) -> PlanEnded:
    names = tuple(TaskId(one) for one in dropped)
    return PlanEnded(revision=revision, count=count, dropped=names, gave_up=gave_up)


def broken(**fields: Any) -> Told:
    """1 is done, 2 has failed, 3 waits for both, 4 runs."""
    told = Told(**fields)
    plan = (planned(1, "1"), planned(2, "2"), planned(3, "3", "1", "2"), planned(4, "4"))
    told.tell(*plan, plan_ended(4), done("plan-1"))
    told.tell(done("1", "one"), failed("2", "no route"))
    return told


def test_a_failure_asks_for_a_revision_that_is_told_how_things_stand() -> None:
    told = broken()
    ready = told.ready("plan-2")
    assert (ready.lane, ready.task.kind, ready.failed) == ("planner", "plan", ("2",))
    standing = {one["task"]["id"]: one["standing"] for one in ready.inputs["plan"]}
    assert standing == {"1": "succeeded", "2": "failed", "3": "waiting", "4": "running"}
    assert ready.inputs["plan"][0]["result"] == "one"
    assert ready.inputs["plan"][1]["error"] == "no route"
    assert ready.inputs["inputs"] == JOB.inputs


def test_what_stands_for_a_failed_task_serves_those_that_wait_for_it() -> None:
    told = broken()
    assert told.tell(instead(1, "2--r2", "2")) == ["ready.executor.normal.2--r2"]
    told.tell(revised(1), done("plan-2"))
    assert told.tell(done("2--r2", "two")) == ["ready.executor.normal.3"]
    assert told.ready("3").inputs == {"1": "one", "2": "two"}
    told.tell(done("3"), done("4"))
    answer = told.ready("answer")
    assert list(answer.inputs) == ["1", "3", "4", "2--r2"]
    assert answer.more
    assert told.tell(done("answer", "so")) == ["end"]
    assert (told.end.status, told.end.result) == ("succeeded", "so")


def test_a_task_may_be_needed_by_every_id_that_it_has_ever_had() -> None:
    told = broken()
    told.tell(instead(1, "2--r2", "2"), revised(1), done("plan-2"))
    told.tell(failed("2--r2", "no route again"))
    told.tell(instead(1, "way", "2--r2", revision=3), revised(1, revision=3), done("plan-3"))
    told.tell(done("way", "two"), failed("3", "too hard"))
    so_far = {one["task"]["id"]: one for one in told.ready("plan-4").inputs["plan"]}
    assert set(so_far) == {"1", "3", "4", "way"}
    assert set(so_far["way"]["stands_for"]) == {"2", "2--r2"}
    assert "stands_for" not in so_far["1"]
    told.tell(instead(1, "3--r4", "3", "1", "2", revision=4))
    assert told.ready("3--r4").inputs == {"1": "one", "2": "two"}


def test_the_rest_goes_on_while_the_plan_is_revised() -> None:
    told = broken()
    assert told.tell(planned(1, "5", "1", revision=2)) == ["ready.executor.normal.5"]
    assert told.tell(done("4")) == []


def test_what_a_revision_does_without_is_stopped_and_never_waited_for() -> None:
    told = broken()
    names = told.tell(revised(0, "4", "2"), done("plan-2"))
    assert names == ["done.4", "ready.planner.normal.answer"]
    outcome = next(one.outcome for one in told.decided if isinstance(one, Done))
    assert isinstance(outcome, Failed)
    assert outcome.code == DROPPED
    answer = told.ready("answer")
    assert answer.inputs["2"]["value"] == "(failed: no route)"
    assert set(answer.inputs) == {"1", "2"}  # 3 could not be done, and 4 was not wanted
    seen = {str(one.id): one.status for one in view(told.state, "j", "t", 9.0).tasks}
    assert (seen["3"], seen["4"]) == ("dropped", "dropped")


def test_what_comes_all_the_same_counts_and_revives_what_needs_it() -> None:
    told = Told()
    told.tell(planned(1, "1"), planned(2, "2"), planned(3, "3", "2"), plan_ended(3))
    told.tell(done("plan-1"), failed("1"))
    for fact in (revised(0, "2", "1"), done("2", "in time")):
        fold(told.state, fact, 1.0)
    assert "ready.executor.normal.3" in told.tell(done("plan-2"))


def test_a_failure_while_the_planner_speaks_waits_for_it() -> None:
    told = Told()
    assert told.tell(planned(1, "1"), failed("1")) == []
    assert told.tell(plan_ended(1), done("plan-1")) == ["ready.planner.normal.plan-2"]


def test_failures_during_a_revision_are_for_the_next_one() -> None:
    told = broken()
    told.tell(instead(1, "2--r2", "2"), failed("4", "too hard"))
    assert "ready.planner.normal.plan-3" in told.tell(revised(1), done("plan-2"))
    assert told.ready("plan-3").failed == ("4",)


def test_without_revisions_a_failure_is_the_end() -> None:
    for revisions in (None, 0):
        told = broken(revisions=revisions)
        assert told.end.error == "task 2 failed: no route"


def test_the_limit_is_kept_and_named() -> None:
    told = broken(revisions=1)
    told.tell(instead(1, "2--r2", "2"), revised(1), done("plan-2"), failed("2--r2", "again"))
    why = "task 2--r2 failed: again; the plan was revised 1 times, which is the limit"
    assert told.end.error == why


def test_two_revisions_without_a_success_are_a_stall() -> None:
    told = broken(revisions=9)
    told.tell(instead(1, "2--r2", "2"), revised(1), done("plan-2"), failed("2--r2", "again"))
    told.tell(
        instead(1, "2--r3", "2--r2", revision=3), revised(1, revision=3), done("plan-3"),
        failed("2--r3", "still"),
    )  # fmt: skip
    assert told.end.error is not None
    assert "stalled" in told.end.error


def test_progress_in_between_is_no_stall() -> None:
    told = broken(revisions=9)
    told.tell(instead(1, "2--r2", "2"), planned(2, "5", revision=2), revised(2), done("plan-2"))
    told.tell(done("5"), failed("2--r2", "again"))
    told.tell(instead(1, "2--r3", "2--r2", revision=3), revised(1, revision=3), done("plan-3"))
    assert "ready.planner.normal.plan-4" in told.tell(failed("2--r3", "still"))


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        (
            [revised(0, gave_up="the host is gone"), done("plan-2")],
            "task 2 failed: no route; it cannot be mended: the host is gone",
        ),
        (
            [revised(0, gave_up="no route"), done("plan-2")],
            "task 2 failed: no route; the planner knows no other way",
        ),
        (
            [failed("plan-2", "the model is silly")],
            "task 2 failed: no route; planning anew failed: the model is silly",
        ),
    ],
)
def test_what_cannot_be_mended_ends_the_job_and_says_both_reasons(
    facts: list[AnyFact], error: str
) -> None:
    told = broken()
    told.tell(*facts)
    assert (told.end.status, told.end.error) == ("failed", error)


def test_an_answer_may_ask_for_more_and_is_tried_again() -> None:
    told = Told()
    told.tell(planned(1, "1"), plan_ended(1), done("plan-1"), done("1", "one"))
    assert told.ready("answer").more
    lacking = Done(
        task=TaskId("answer"),
        outcome=Failed("incomplete", "nobody counted b.txt"),
        usage=Usage(),
        by="worker",
        attempt=1,
        at=3.0,
    )
    assert told.tell(lacking) == ["ready.planner.normal.plan-2"]
    assert told.ready("plan-2").failed == ("answer",)
    told.tell(planned(1, "2", revision=2), revised(1), done("plan-2"))
    assert told.tell(done("2", "two")) == ["ready.planner.normal.answer-2"]
    assert list(told.ready("answer-2").inputs) == ["1", "2"]
    told.tell(done("answer-2", "both"))
    assert told.end.result == "both"


def test_an_answer_that_asked_for_what_nobody_can_find_is_written_from_what_there_is() -> None:
    told = Told()
    told.tell(planned(1, "1"), plan_ended(1), done("plan-1"), done("1", "one"))
    lacking = Failed("incomplete", "nobody counted b.txt")
    answer = TaskId("answer")
    told.tell(Done(task=answer, outcome=lacking, usage=Usage(), by="w", attempt=1, at=3.0))
    assert told.tell(revised(0, gave_up="there is no b.txt")) == []
    assert told.tell(done("plan-2")) == ["ready.planner.normal.answer-2"]
    assert not told.ready("answer-2").more
    assert list(told.ready("answer-2").inputs) == ["1"]
    told.tell(done("answer-2", "a.txt has one, and there is no b.txt"))
    assert told.end.status == "succeeded"


def test_an_answer_that_may_not_ask_fails_the_job_if_it_does() -> None:
    told = Told(revisions=0)
    told.tell(planned(1, "1"), plan_ended(1), done("plan-1"), done("1", "one"))
    assert not told.ready("answer").more
    lacking = Failed("incomplete", "nobody counted b.txt")
    answer = TaskId("answer")
    told.tell(Done(task=answer, outcome=lacking, usage=Usage(), by="w", attempt=1, at=3.0))
    assert told.end.error == "task answer failed: nobody counted b.txt"


def test_the_output_schema_of_a_job_goes_to_its_answer() -> None:
    told = Told(output={"type": "integer"})
    told.tell(planned(1, "1"), plan_ended(1), done("plan-1"), done("1", "one"))
    assert told.ready("answer").task.output == {"type": "integer"}


def test_a_strangers_fact_in_the_place_of_a_revision_does_not_wedge_the_job() -> None:
    told = Told()
    stranger = Ready(
        lane="planner", priority="low", task=TaskSpec(id=TaskId("plan-2")), goal="nonsense"
    )
    told.tell(stranger, planned(1, "1"), plan_ended(1), done("plan-1"), failed("1"))
    assert told.end.status == "failed"
