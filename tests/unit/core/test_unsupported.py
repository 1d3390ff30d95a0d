"""Numbers that no result says, on their way from a task's outcome to the job's end."""

import msgspec

from galerne.core.view import view
from galerne.messages.facts import Done
from galerne.messages.ids import TaskId
from galerne.messages.plan import Succeeded
from unit.core.facts import done, plan_ended, planned
from unit.core.test_groups import listed
from unit.core.test_revisions import Told


def marked(task: str, value: object, *numbers: str) -> Done:
    return msgspec.structs.replace(done(task), outcome=Succeeded(value, numbers))


def test_the_answer_hears_of_them_and_its_own_stand_in_the_end() -> None:
    told = Told()
    told.tell(planned(1, "1"), planned(2, "2"), plan_ended(2), done("plan-1"))
    told.tell(marked("1", "302 words", "302"), done("2", "7"))
    inputs = told.ready("answer").inputs
    assert inputs["1"] == {"instruction": "do 1", "value": "302 words", "unsupported": ("302",)}
    assert inputs["2"] == {"instruction": "do 2", "value": "7"}
    told.tell(marked("answer", "302.", "302"))
    assert told.end.unsupported == ("302",)
    told.tell(told.end)
    seen = view(told.state, "job-1", "default", 9.0)
    assert seen.unsupported == ("302",)
    assert [task.unsupported for task in seen.tasks] == [(), ("302",), (), ("302",)]


def test_those_of_a_lists_elements_are_the_lists_each_once() -> None:
    told = listed(["a", "b", "c"])
    told.tell(marked("2--0", "10 and 11", "10", "11"), marked("2--1", "10", "10"))
    told.tell(done("2--2", "7"))
    outcome = told.state.done[TaskId("2")].outcome
    assert outcome == Succeeded(["10 and 11", "10", "7"], ("10", "11"))
