import json
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.plan import Rejected, TaskSpec
from galerne.planner.prompt import task_line
from galerne.planner.reader import PlanReader
from unit.planner.examples import TOOLS, agent_task, tool_task


def lines(*tasks: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(task)}\n" for task in tasks)


ONE, TWO, THREE = agent_task("1"), agent_task("2", "b", "1"), agent_task("3", "c", "1", "2")
TEXT = "".join(f"{task_line(task)}\n" for task in (ONE, TWO, THREE))


def reasons(judged: list[TaskSpec | Rejected]) -> list[str]:
    return [one.reason for one in judged if isinstance(one, Rejected)]


def test_tasks_come_as_they_close() -> None:
    reader = PlanReader(TOOLS)
    assert reader.feed(TEXT[:-3]) == [ONE, TWO]
    assert reader.feed(TEXT[-3:]) == [THREE]
    assert reader.finish() == []
    assert reader.tasks == (ONE, TWO, THREE)


def test_one_bad_task_is_rejected_alone() -> None:
    reader = PlanReader(TOOLS)
    bad: dict[str, Any] = {"id": "9", "tool": "fly", "args": {}}
    judged = reader.feed(task_line(ONE) + lines(bad) + '{"id": "8", oops}' + task_line(TWO))
    assert [type(one) for one in judged] == [TaskSpec, Rejected, Rejected, TaskSpec]
    assert [one.id for one in judged] == ["1", "9", "8", "2"]
    assert isinstance(judged[1], Rejected)
    assert json.loads(judged[1].text) == bad


@pytest.mark.parametrize("name", [["1"], {"id": 1}, [], {}, 1.5, True])
@pytest.mark.parametrize("revision", [1, 2])
def test_an_id_that_is_no_word_is_rejected_alone(name: Any, revision: int) -> None:
    reader = PlanReader(TOOLS, revision=revision)
    judged = reader.feed(lines({"id": name, "instruction": "a"}) + task_line(ONE))
    assert [type(one) for one in judged] == [Rejected, TaskSpec]
    assert "is not usable" in reasons(judged)[0]


def test_a_forward_need_is_rejected_and_can_be_mended_in_another_turn() -> None:
    reader = PlanReader(TOOLS)
    judged = reader.feed(task_line(TWO) + task_line(ONE))
    assert reasons(judged) == [
        "it needs task '1', which does not stand before it: write that one first"
    ]
    reader.finish()
    assert reader.feed(task_line(TWO)) == [TWO]


def test_repeated_tasks_are_dropped_and_different_ones_refused() -> None:
    reader = PlanReader(TOOLS, [ONE, TWO])
    assert reader.feed(TEXT + TEXT) == [THREE]
    judged = reader.feed(task_line(agent_task("1", "other")) + task_line(agent_task("3", "other")))
    assert len(reasons(judged)) == 2
    assert reader.tasks == (ONE, TWO, THREE)


def test_a_new_answer_goes_on_after_what_was_planned() -> None:
    reader = PlanReader(TOOLS, [ONE, TWO])
    assert reader.feed(task_line(THREE)) == [THREE]


def test_the_same_answer_again_is_read_as_it_was_the_first_time() -> None:
    """Task 1 needs 2, which stands after it: refused then, so refused now that 2 is written."""
    two = agent_task("2")
    three = agent_task("3", "c", "2")
    text = task_line(two) + task_line(agent_task("1", "a", "3")) + task_line(three)
    fresh = PlanReader(TOOLS)
    assert len(reasons(fresh.feed(text))) == 1
    for written in ([two], [two, three]):
        again = PlanReader(TOOLS, written)
        assert len(reasons(again.feed(text))) == 1
        assert again.tasks == fresh.tasks


def test_a_written_task_is_known_again_although_its_tool_is_gone() -> None:
    task = tool_task("1", "read_file", {"path": "a"})
    reader = PlanReader((), [task])
    assert reader.feed(task_line(task)) == []


def test_implied_needs_make_no_difference_to_knowing_a_task_again() -> None:
    first = PlanReader(TOOLS)
    text = task_line(ONE) + lines({"id": "2", "instruction": "see {{1}} and {{3}}"})
    text += lines({"id": "3", "instruction": "x"})
    tasks = [one for one in first.feed(text) if isinstance(one, TaskSpec)]
    assert [task.needs for task in tasks] == [(), ("1",), ()]
    assert PlanReader(TOOLS, tasks).feed(text) == []
    assert PlanReader(TOOLS, tasks).feed("".join(map(task_line, tasks))) == []


def test_an_answer_without_any_task_is_a_rejection() -> None:
    reader = PlanReader(TOOLS)
    reader.feed("I would first read the file.")
    assert reasons(reader.finish()) == ["your answer holds no task: write one JSON object a line"]
    assert PlanReader(TOOLS, [ONE]).finish() == []


def test_an_answer_that_reached_its_limit_is_not_the_whole_plan() -> None:
    reader = PlanReader(TOOLS)
    reader.feed(TEXT[:-4])
    assert reasons(reader.finish("length")) == [
        "the text ends inside this object",
        "your answer reached its limit: go on with the tasks still missing",
    ]


task_ids = st.sampled_from(["1", "2", "3", "4"])
some_tasks = st.lists(
    st.tuples(task_ids, st.sampled_from(["a", "b", ""]), st.lists(task_ids, max_size=2)), max_size=9
)


@given(some_tasks, st.integers(0, 9))
def test_reading_again_after_any_number_of_written_tasks_gives_the_rest(
    plan: list[tuple[str, str, list[str]]], count: int
) -> None:
    text = lines(*({"id": i, "instruction": t, "needs": n} for i, t, n in plan))
    first = PlanReader(TOOLS)
    judged = first.feed(text)
    tasks = [one for one in judged if isinstance(one, TaskSpec)]
    again = PlanReader(TOOLS, tasks[:count])
    new = [one for one in again.feed(text) if isinstance(one, TaskSpec)]
    assert again.tasks[: len(tasks[:count])] == tuple(tasks[:count])
    if _opens_with_a_forward_need(judged):
        return  # the one case that cannot be told from an answer that goes on
    assert new == tasks[count:]


def _opens_with_a_forward_need(judged: list[TaskSpec | Rejected]) -> bool:
    opening = takewhile(lambda one: isinstance(one, Rejected), judged)
    return any("needs task" in reason for reason in reasons(list(opening)))


@given(some_tasks, st.integers(1, 40))
def test_pieces_do_not_matter(plan: list[tuple[str, str, list[str]]], size: int) -> None:
    text = lines(*({"id": i, "instruction": t, "needs": n} for i, t, n in plan))
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    reader = PlanReader(TOOLS)
    judged = [one for piece in pieces for one in reader.feed(piece)]
    assert judged == PlanReader(TOOLS).feed(text)
