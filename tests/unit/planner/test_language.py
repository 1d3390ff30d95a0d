"""Lists, nested plans, revisions: what a planner's text says, in pieces of any size."""

from collections.abc import Sequence
from graphlib import TopologicalSorter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galerne.messages.ids import TaskId
from galerne.messages.plan import Rejected, Standing, TaskKind, TaskSoFar, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.planner import task_line
from galerne.planner.reader import PlanReader
from galerne.planner.refs import nested_under, referenced_tasks
from unit.planner.examples import TOOLS


def lines(*tasks: dict[str, Any]) -> str:
    return "".join(f"{msgspec.json.encode(task).decode()}\n" for task in tasks)


def so_far(task: str, standing: Standing) -> TaskSoFar:
    return TaskSoFar(task=TaskSpec(id=TaskId(task), instruction=f"do {task}"), standing=standing)


SO_FAR = (
    so_far("1", "succeeded"),
    so_far("2", "failed"),
    so_far("3", "waiting"),
    so_far("4", "running"),
)


def revision(text: str, tools: Sequence[ToolSpec] = TOOLS) -> tuple[PlanReader, list[Any]]:
    reader = PlanReader(tools, so_far=SO_FAR, revision=2)
    judged = [one for character in text for one in reader.feed(character)]
    return reader, [*judged, *reader.finish()]


def only(text: str) -> TaskSpec:
    (task,) = PlanReader(TOOLS).feed(text)
    assert isinstance(task, TaskSpec), task
    return task


def reason(judged: list[Any]) -> str:
    (rejected,) = judged
    assert isinstance(rejected, Rejected), rejected
    return rejected.reason


@pytest.mark.parametrize(
    "foreach", [{"$ref": "1.files"}, {"$ref": "1.files "}, "{{1.files}}", " {{ 1.files }} "]
)
@pytest.mark.parametrize("name", ["foreach", "for_each", "map"])
def test_a_list_is_needed_by_what_is_done_for_it(name: str, foreach: Any) -> None:
    text = lines(
        {"id": 1, "instruction": "list", "output": {"type": "object"}},
        {"id": 2, "tool": "text_stats", "args": {"path": {"$ref": "item.path"}}, name: foreach},
    )
    _, each = PlanReader(TOOLS).feed(text)
    assert isinstance(each, TaskSpec), each
    assert (each.needs, each.kind) == (("1",), "tool")


def test_a_literal_list_needs_nothing() -> None:
    task = only(lines({"id": 1, "instruction": "read {{item}}", "foreach": ["a", {"b": 1}]}))
    assert (task.needs, task.foreach) == ((), ["a", {"b": 1}])


@pytest.mark.parametrize(
    ("producer", "foreach", "what"),
    [
        ({}, "1", "foreach must be a list, but 1 is string: give task 1 an output schema"),
        ({"output": {"type": "integer"}}, "1", "foreach must be a list, but 1 is integer"),
        (
            {"output": {"type": "object", "properties": {"a": {}}, "additionalProperties": False}},
            "1.files",
            "foreach: task 1 gives no 'files'; it gives: a",
        ),
    ],
)
def test_what_is_no_list_is_told(producer: dict[str, Any], foreach: str, what: str) -> None:
    text = lines(
        {"id": "1", "instruction": "list", **producer},
        {"id": "2", "instruction": "read {{item}}", "foreach": {"$ref": foreach}},
    )
    assert reason(PlanReader(TOOLS).feed(text)[1:]) == what


@pytest.mark.parametrize("foreach", [{"$ref": "item"}, "{{item.files}}", [{"$ref": "item"}]])
def test_a_list_is_not_made_of_its_own_elements(foreach: Any) -> None:
    text = lines({"id": "1", "instruction": "read {{item}}", "foreach": foreach})
    assert "cannot be made of 'item'" in reason(PlanReader(TOOLS).feed(text))


def test_an_element_has_the_type_that_its_list_says() -> None:
    numbers = {"type": "array", "items": {"type": "integer"}}
    text = lines(
        {"id": "1", "instruction": "list", "output": numbers},
        {"id": "2", "tool": "text_stats", "args": {"path": {"$ref": "item"}}, "map": {"$ref": "1"}},
    )
    assert "args.path must be string, but item is integer" in reason(
        PlanReader(TOOLS).feed(text)[1:]
    )


def test_the_result_of_a_list_is_a_list() -> None:
    text = lines(
        {"id": "1", "instruction": "do", "foreach": ["a"]},
        {"id": "2", "tool": "text_stats", "args": {"path": {"$ref": "1"}}},
    )
    assert "args.path must be string, but 1 is array" in reason(PlanReader(TOOLS).feed(text)[1:])


def test_model_class_and_effort_are_the_planners_choice() -> None:
    task = only(lines({"id": 1, "instruction": "x", "model_class": "large", "effort": "high"}))
    assert (task.model, task.effort) == ("large", "high")


@pytest.mark.parametrize("more", [{"kind": "plan"}, {"foreach": ["a"]}])
def test_nothing_is_nested_too_deep(more: dict[str, Any]) -> None:
    text = lines({"id": "1", "instruction": "x", **more})
    assert isinstance(PlanReader(TOOLS, depth=2).feed(text)[0], TaskSpec)
    assert "nested too deep" in reason(PlanReader(TOOLS, depth=3).feed(text))


# revisions


def test_the_id_of_an_unfinished_task_names_what_it_is_replaced_by() -> None:
    reader, (two, five) = revision(
        lines(
            {"id": "2", "instruction": "another way", "needs": ["1"]},
            {"id": "5", "instruction": "then", "needs": ["2", "4"]},
        )
    )
    assert (two.id, two.replaces, two.needs) == ("2--r2", "2", ("1",))
    assert (five.id, five.needs) == ("5", ("2", "4"))
    assert reader.dropped == ()


def test_what_is_written_again_as_it_was_stays_if_it_has_not_failed() -> None:
    stays = {"id": "3", "instruction": "do 3"}
    assert revision(lines(stays, {"drop": "2"}))[1] == []
    assert "your answer changes nothing" in reason(revision(lines(stays))[1])
    assert "this very task has failed" in reason(
        revision(lines({"id": "2", "instruction": "do 2"}))[1]
    )
    again = revision(lines({"id": "7", "instruction": "do 2"}))[1]
    assert "this very task has failed" in reason(again)


@pytest.mark.parametrize(
    ("task", "what"),
    [
        ({"id": "1", "instruction": "other"}, "task '1' is done, its result stands"),
        ({"id": "5", "instruction": "x", "needs": ["2"]}, "'2', which has failed: replace it"),
        ({"id": "5", "instruction": "x", "needs": ["6"]}, "does not stand before it"),
        ({"id": "2--r3", "instruction": "x", "replaces": "2"}, "is reserved"),
        ({"id": "4--plan", "instruction": "x", "replaces": "2"}, "is reserved"),
        ({"id": "5", "instruction": "x", "replaces": "1"}, "cannot be replaced"),
        ({"id": "5", "instruction": "x", "replaces": "9"}, "cannot be replaced"),
        ({"drop": ["1"]}, "task '1' cannot be dropped; those that can: 2, 3, 4"),
        ({"drop": "9"}, "cannot be dropped"),
    ],
)
def test_what_a_revision_may_not_say(task: dict[str, Any], what: str) -> None:
    assert what in reason(revision(lines(task))[1])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (lines({"id": "3", "instruction": "x", "needs": ["3"]}), "need of task '3'"),
        (
            lines(
                {"id": "2", "instruction": "x", "needs": ["3"]},
                {"id": "3", "instruction": "y", "needs": ["2"]},
            ),
            "it would wait for itself, because of its need of task '2'",
        ),
        (
            lines(
                {"id": "5", "instruction": "x", "needs": ["3"]},
                {"id": "3", "instruction": "y", "needs": ["5"]},
            ),
            "need of task '5'",
        ),
        (
            lines(
                {"id": "9", "instruction": "x", "replaces": "2"},
                {"id": "2", "instruction": "y"},
            ),
            "task '2' is replaced by task '9' already",
        ),
    ],
)
def test_nothing_is_replaced_twice_or_made_to_wait_for_itself(text: str, what: str) -> None:
    assert what in reason(revision(text)[1][-1:])


def test_a_fresh_id_may_say_what_it_replaces() -> None:
    (task,) = revision(lines({"id": "9", "instruction": "mirror", "replaces": "2"}))[1]
    assert (task.id, task.replaces) == ("9", "2")


def test_a_revision_may_only_drop_or_give_up() -> None:
    reader, judged = revision(lines({"drop": ["2", 3]}))
    assert (judged, reader.dropped, reader.gave_up) == ([], ("2", "3"), None)
    reader, judged = revision(lines({"give_up": "the\nhost is gone"}))
    assert (judged, reader.gave_up) == ([], "the host is gone")


def test_what_is_dropped_cannot_be_needed() -> None:
    text = lines({"drop": ["4"]}, {"id": "5", "instruction": "x", "needs": ["4"]})
    assert "'4', which is dropped: do without it" in reason(revision(text)[1])


def test_what_a_new_task_needs_cannot_be_dropped() -> None:
    text = lines({"id": "5", "instruction": "x", "needs": ["4"]}, {"drop": ["4"]})
    reader, judged = revision(text)
    assert "task '4' cannot be dropped: task '5' needs it" in reason(judged[1:])
    assert reader.dropped == ()


@pytest.mark.parametrize("first", [0, 1])
def test_to_replace_a_task_and_drop_the_old_one_is_to_replace_it(first: int) -> None:
    both: list[dict[str, Any]] = [{"id": "2", "instruction": "another way"}, {"drop": ["2"]}]
    then: dict[str, Any] = {"id": "5", "instruction": "then", "needs": ["2"]}
    reader, judged = revision(lines(both[first], both[1 - first], then))
    assert [one.id for one in judged] == ["2--r2", "5"]
    assert reader.dropped == ()


def test_what_is_done_and_written_once_more_as_it_was_is_no_new_task() -> None:
    text = lines({"id": "1", "instruction": "do 1"}, {"id": "5", "instruction": "x", "needs": "1"})
    assert [one.id for one in revision(text)[1]] == ["5"]


def test_an_empty_revision_is_asked_again() -> None:
    assert "holds no task" in reason(revision("I do not know.")[1])


def test_words_of_a_revision_are_no_words_of_a_first_plan() -> None:
    assert "no id" in reason(PlanReader(TOOLS).feed(lines({"drop": ["1"]})))


def test_a_killed_planner_goes_on_with_the_same_revision() -> None:
    text = lines(
        {"id": "2", "instruction": "another way"}, {"id": "5", "instruction": "then", "needs": "2"}
    )
    _, tasks = revision(text)
    for count in range(3):
        reader = PlanReader(TOOLS, tasks[:count], SO_FAR, 2)
        assert [*reader.feed(text), *reader.finish()] == tasks[count:]


# nested plans


kinds: st.SearchStrategy[TaskKind] = st.sampled_from(("agent", "tool", "plan"))


@st.composite
def graphs(draw: st.DrawFn) -> list[TaskSpec]:
    """Tasks of every kind over one another, as the check lets them pass."""
    tasks: list[TaskSpec] = []
    for n in range(draw(st.integers(1, 8))):
        before = [task.id for task in tasks]
        some = st.lists(st.sampled_from(before), unique=True) if before else st.just([])
        needs: list[TaskId] = draw(some)
        kind: TaskKind = draw(kinds)
        foreach: Any = draw(st.sampled_from((None, ["a", "b"], [], {"$ref": "a list"})))
        if isinstance(foreach, dict):
            foreach = {"$ref": f"{needs[-1]}.files"} if needs else None
        reference: Any = {"$ref": f"{needs[0]}.path"} if needs else "a.txt"
        if foreach is not None and draw(st.booleans()):
            reference = draw(st.sampled_from(({"$ref": "item"}, "in/{{item.name}}")))
        task = TaskSpec(
            id=TaskId(str(n + 1)),
            kind=kind,
            instruction="" if kind == "tool" else f"do {{{{{needs[0]}}}}}" if needs else "do it",
            tool="text_stats" if kind == "tool" else None,
            args={"path": reference} if kind == "tool" else None,
            needs=tuple(needs),
            foreach=foreach,
            model=draw(st.sampled_from((None, "small", "large"))) if kind == "agent" else None,
            effort=draw(st.sampled_from((None, "low"))) if kind == "agent" else None,
        )
        tasks.append(task)
    return tasks


def _may_be_referred_to(tasks: list[TaskSpec]) -> bool:
    """Whether no argument takes a part of what is surely a text or a list."""
    texts = {task.id for task in tasks if task.kind == "agent" or task.foreach is not None}
    used = (one for task in tasks for one in referenced_tasks([task.args, task.foreach]))
    return texts.isdisjoint(used)


@given(graphs().filter(_may_be_referred_to), st.integers(1, 40), st.integers(0, 8))
@settings(max_examples=200)
def test_a_plan_reads_as_it_was_written_at_any_size_of_pieces(
    tasks: list[TaskSpec], size: int, killed: int
) -> None:
    text = "".join(f"{task_line(task)}\n" for task in tasks)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    reader = PlanReader(TOOLS)
    judged = [one for piece in pieces for one in reader.feed(piece)]
    assert [*judged, *reader.finish()] == tasks
    again = PlanReader(TOOLS, tasks[:killed])
    judged = [one for piece in pieces for one in again.feed(piece)]
    assert [*judged, *again.finish()] == tasks[killed:]


def replaced_before(text: str) -> list[Any]:
    """What a third revision makes of a text: 1 had been replaced twice, 2 once; 3 has failed."""
    there = (
        TaskSoFar(
            task=TaskSpec(id=TaskId("way"), instruction="count", replaces=TaskId("1--r2")),
            standing="succeeded",
            stands_for=(TaskId("1"), TaskId("1--r2")),
        ),
        TaskSoFar(
            task=TaskSpec(id=TaskId("2--r2"), instruction="ask", replaces=TaskId("2")),
            standing="failed",
            stands_for=(TaskId("2"),),
        ),
        TaskSoFar(
            task=TaskSpec(id=TaskId("3"), instruction="sum", needs=(TaskId("1"), TaskId("2"))),
            standing="failed",
        ),
    )
    reader = PlanReader(TOOLS, so_far=there, revision=3)
    return [*reader.feed(text), *reader.finish()]


def test_an_id_that_was_replaced_before_means_what_stands_there_now() -> None:
    again, total = replaced_before(
        lines(
            {"id": "2", "instruction": "look it up"},
            {"id": "3", "instruction": "add {{1}} and {{2}}", "needs": ["1", "2"]},
        )
    )
    assert (again.id, again.replaces) == ("2--r2--r3", "2--r2")
    assert (total.id, total.replaces, total.needs) == ("3--r3", "3", ("1", "2"))


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"id": "1", "instruction": "count anew"}, "task '1' is done, its result stands"),
        ({"id": "3", "instruction": "add up", "needs": ["2"]}, "it needs task '2', which has fail"),
        ({"id": "2", "instruction": "wait", "needs": ["2"]}, "'2', which has failed: replace it"),
        ({"id": "5", "instruction": "x", "replaces": "1"}, "task 'way' cannot be replaced"),
        ({"id": "2", "instruction": "ask"}, "this very task has failed"),
        ({"drop": ["1"]}, "task '1' cannot be dropped"),
    ],
)
def test_an_id_that_was_replaced_before_obeys_the_rules(said: dict[str, Any], what: str) -> None:
    assert what in reason(replaced_before(lines(said))[:1])


standings: st.SearchStrategy[Standing] = st.sampled_from(
    ("succeeded", "failed", "running", "waiting")
)


@st.composite
def revisions(draw: st.DrawFn) -> tuple[list[TaskSoFar], list[dict[str, Any]]]:
    """A plan as it stands, and what a model may say of it: right and wrong, in any order."""
    count = draw(st.integers(1, 5))
    there: list[TaskSoFar] = []
    for n in range(1, count + 1):
        before = [one.task.id for one in there]
        needs: list[TaskId] = draw(st.lists(st.sampled_from(before), unique=True)) if before else []
        spec = TaskSpec(id=TaskId(str(n)), instruction=f"do {n}", needs=tuple(needs))
        earlier = tuple(TaskId(f"old-{n}-{k}") for k in range(draw(st.integers(0, 2))))
        there.append(TaskSoFar(task=spec, standing=draw(standings), stands_for=earlier))
    earlier_ids = [str(old) for one in there for old in one.stands_for]
    ids = st.integers(1, count + 4).map(str)
    if earlier_ids:
        ids |= st.sampled_from(earlier_ids)
    written: st.SearchStrategy[dict[str, Any]] = st.one_of(
        st.fixed_dictionaries(
            {
                "id": ids,
                "instruction": st.sampled_from(
                    ("do 1", "do 2", "another way", "{{2}}", "{{old-1-0}}")
                ),
            },
            optional={"needs": st.lists(ids, max_size=2, unique=True), "replaces": ids},
        ),
        st.fixed_dictionaries({"drop": st.lists(ids, max_size=2)}),
        st.fixed_dictionaries({"give_up": st.just("no way")}),
    )
    return there, draw(st.lists(written, max_size=8))


@given(revisions(), st.integers(1, 40), st.integers(0, 8))
@settings(max_examples=300)
def test_a_revision_says_the_same_in_pieces_of_any_size_and_after_any_kill(
    plan: tuple[list[TaskSoFar], list[dict[str, Any]]], size: int, killed: int
) -> None:
    """What was refused at first may stand the second time: what it missed is written by then."""
    there, said = plan
    text = lines(*said)
    whole = PlanReader(TOOLS, so_far=there, revision=2)
    judged = [*whole.feed(text), *whole.finish()]
    tasks = [one for one in judged if isinstance(one, TaskSpec)]
    for already in ([], tasks[:killed]):
        reader = PlanReader(TOOLS, already, there, 2)
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        again = [one for piece in pieces for one in reader.feed(piece)]
        again += reader.finish()
        new = [one for one in again if isinstance(one, TaskSpec)]
        _holds_together(there, [*already, *new], reader.dropped)
        if not already or len(judged) == len(tasks):
            assert new == tasks[len(already) :]
            assert (reader.dropped, reader.gave_up) == (whole.dropped, whole.gave_up)


def _holds_together(
    there: list[TaskSoFar], tasks: list[TaskSpec], dropped: tuple[TaskId, ...]
) -> None:
    """What an accepted revision promises to the core."""
    standing = {one.task.id: one.standing for one in there}
    now = {old: one.task.id for one in there for old in one.stands_for}
    assert not {task.id for task in tasks} & now.keys()
    assert not {task.replaces for task in tasks} & now.keys()
    assert len({task.id for task in tasks}) == len(tasks)
    assert not {task.id for task in tasks} & standing.keys()
    replaced = {task.replaces: task for task in tasks if task.replaces}
    assert len(replaced) == sum(task.replaces is not None for task in tasks)
    assert all(standing[task] != "succeeded" for task in (*replaced, *dropped))
    assert replaced.keys().isdisjoint(dropped)
    specs = {one.task.id: one.task for one in there} | {task.id: task for task in tasks}
    stands = {name: replaced.get(name, spec) for name, spec in specs.items()}
    TopologicalSorter(
        {
            spec.id: [stands[now.get(need, need)].id for need in spec.needs]
            for spec in stands.values()
        }
    ).prepare()  # raises where tasks wait for one another
    before: set[TaskId] = set()
    for task in tasks:
        known = before | {one for one in standing if one not in dropped}
        needs = [now.get(need, need) for need in task.needs]
        assert known.issuperset(needs)
        assert all(need in replaced for need in needs if standing.get(need) == "failed")
        before.add(task.id)


@given(graphs(), st.sampled_from(("4", "4--2", "5--0")))
@settings(max_examples=100)
def test_the_names_of_a_nested_plan_lead_there_and_back(tasks: list[TaskSpec], owner: str) -> None:
    logged, written = nested_under(TaskId(owner), {TaskId("outside")})
    named = [logged(task) for task in tasks]
    assert all(task.id.startswith(f"{owner}--") for task in named)
    assert [written(task) for task in named] == tasks


def test_what_stands_outside_a_nested_plan_has_a_name_of_its_own() -> None:
    outside = TaskId("2")
    task = TaskSpec(
        id=TaskId("1"),
        instruction="compare {{given-2.total}} and {{3}}",
        needs=(TaskId("given-2"), TaskId("3")),
        args={"a": [{"$ref": "given-2.total"}], "b": "{{3}}"},
    )
    logged, written = nested_under(TaskId("4"), {outside})
    assert logged(task) == TaskSpec(
        id=TaskId("4--1"),
        instruction="compare {{2.total}} and {{4--3}}",
        needs=(outside, TaskId("4--3")),
        args={"a": [{"$ref": "2.total"}], "b": "{{4--3}}"},
    )
    assert written(logged(task)) == task
