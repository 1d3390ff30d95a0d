"""`galerne.run` with scripted models: the ways to an answer, and those to none."""

import json

import anyio
import anyio.lowlevel
import msgspec
import pytest

from galerne import Budget, JobFailedError, RunFailedError
from galerne.errors import BadAnswerError, InvalidInputError, ModelError, UnavailableError
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import Accounted, Claimed, Done, Ended, Ready
from galerne.messages.ids import TaskId
from galerne.messages.live import Progress
from galerne.messages.plan import Failed, Succeeded
from galerne.settings import CoordinatorSettings
from galerne.tools import ToolContext, tool
from unit.local.scripted import (
    SETTINGS,
    Facts,
    Scripted,
    agent_task,
    calls,
    carry_out,
    executing,
    last,
    planning,
    says,
    tool_task,
    with_worker,
)

pytestmark = pytest.mark.anyio


@tool(effect="pure")
async def count(context: ToolContext) -> int:
    """Count, and say so."""
    context.progress("one\x1b[2J", 0.5)
    context.progress("two", 7.0)
    return 2


@tool(effect="pure")
def count_in_a_thread(context: ToolContext) -> int:
    """Count, and say so."""
    context.progress("one")
    return 1


def double(number: int) -> int:
    """Twice a number."""
    return 2 * number


async def test_a_goal_is_planned_carried_out_and_answered() -> None:
    facts = Facts()
    pieces: list[tuple[str, str]] = []

    def hear(task: str, text: str) -> None:
        pieces.append((task, text))

    planner = planning(
        agent_task("1", "say one"), agent_task("2", "say two", "1"), answer="one and two"
    )
    executor = executing()
    result = await carry_out(
        planner=planner,
        executor=executor,
        on_event=facts,
        on_text=hear,
    )
    assert (result.answer, result.status) == ("one and two", "succeeded")
    assert [(task.id, task.status) for task in result.tasks] == [
        ("plan-1", "succeeded"),
        ("1", "succeeded"),
        ("2", "succeeded"),
        ("answer", "succeeded"),
    ]
    assert executor.tasks == ["1", "2"]
    assert "done: 1" in last(executor.requests[1]), "it gets the results that it needs"
    assert result.usage.model_calls == 4
    assert result.usage.tokens == 120
    assert 0 < result.cost == result.usage.usd
    assert facts.names[0] == "submitted"
    assert facts.names[-1] == "end"
    assert "".join(text for task, text in pieces if task == "answer") == "one and two"
    assert repr(result).startswith("<succeeded: 4 tasks, ")


async def test_a_task_starts_while_the_planner_still_speaks() -> None:
    facts = Facts()
    tasks = [agent_task(str(n), f"say {n}") for n in range(1, 9)]
    await carry_out(planner=planning(*tasks), executor=executing(), on_event=facts)
    assert facts.names.index("ready.executor.normal.1") < facts.names.index("plan.1.8")
    assert facts.names.index("done.1") < facts.names.index("plan.1.end")


async def test_no_more_tasks_run_at_once_than_the_settings_allow() -> None:
    async def slowly(task: str, request: ChatRequest) -> ChatReply:
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        return says(f"done: {task}")

    executor = executing(slowly)
    tasks = [agent_task(str(n), f"say {n}") for n in range(1, 9)]
    await carry_out(
        planner=planning(*tasks), executor=executor, settings=with_worker(concurrency=3)
    )
    assert executor.most == 3


async def test_tools_are_called_by_models_and_by_plans_with_typed_references() -> None:
    async def asks_for_it(task: str, request: ChatRequest) -> ChatReply:
        return says("it is 8") if last(request) == "8" else calls("double", number=4)

    result = await carry_out(
        planner=planning(
            tool_task("1", "double", {"number": 21}),
            tool_task("2", "double", {"number": {"$ref": "1"}}),
            agent_task("3", "double four", tools=["double"]),
        ),
        executor=executing(asks_for_it),
        tools=[double],
    )
    assert [task.result for task in result.tasks[1:4]] == [42, 84, "it is 8"]
    assert result.usage.tool_calls == 3


async def test_numbers_that_no_result_says_are_asked_back_and_marked() -> None:
    async def adds_badly(task: str, request: ChatRequest) -> ChatReply:
        return says("302")

    executor = executing(adds_badly)
    planner = planning(
        tool_task("1", "double", {"number": 194}),
        tool_task("2", "double", {"number": 157}),
        agent_task("3", "add them", "1", "2"),
        answer="388 and 314 make 302.",
    )
    result = await carry_out(planner=planner, executor=executor, tools=[double])
    assert (result.answer, result.unsupported) == ("388 and 314 make 302.", ("302",))
    assert executor.tasks == ["3", "3"], "asked back once"
    assert planner.tasks == ["plan-1", "answer", "answer"]
    assert [task.unsupported for task in result.tasks] == [(), (), (), ("302",), ("302",)]


async def test_one_model_may_do_both() -> None:
    planner = planning(agent_task("1", "say one"), answer="done")
    result = await carry_out(planner=planner)
    assert planner.tasks == ["plan-1", "1", "answer"]
    assert result.answer == "done"


# failures


async def test_a_passing_failure_is_tried_again_and_what_was_paid_is_not_asked_again() -> None:
    failures = iter([UnavailableError("away"), BadAnswerError("gibberish"), None])

    async def at_last(task: str, request: ChatRequest) -> ChatReply:
        if last(request) != "42":
            return calls("double", number=21)
        failure = next(failures)
        if failure is not None:
            raise failure
        return says("it is 42")

    facts, executor = Facts(), executing(at_last)
    result = await carry_out(
        planner=planning(agent_task("1", "double 21", tools=["double"])),
        executor=executor,
        tools=[double],
        on_event=facts,
    )
    assert result.tasks[1].result == "it is 42"
    assert result.tasks[1].attempt == 3
    assert len(executor.requests) == 4, "the first turn is not asked again"
    claims = [one for one in facts.of(Claimed) if one.task == "1"]
    assert [(one.attempt, one.excused, one.until > 0) for one in claims] == [
        (1, 0, True),
        (1, 1, False),
        (2, 1, True),
        (2, 1, False),
        (3, 1, True),
    ]


async def test_what_fails_too_often_fails_the_run() -> None:
    async def never(task: str, request: ChatRequest) -> ChatReply:
        raise BadAnswerError("gibberish")

    executor = executing(never)
    with pytest.raises(JobFailedError) as caught:
        await carry_out(planner=planning(agent_task("1", "say one")), executor=executor)
    assert str(caught.value) == "the run failed: task 1 failed: gibberish (after 3 attempts)"
    assert len(executor.requests) == 3


def mending() -> tuple[Scripted, Scripted]:
    """A planner whose second revision does another task, and an executor that fails the first."""

    async def plan(task: str, _: ChatRequest) -> ChatReply:
        match task:
            case "plan-1":
                return says(json.dumps(agent_task("1", "say one")))
            case "plan-2":
                return says(json.dumps(agent_task("1", "say it another way")))
            case _:
                return says("one after all")

    async def refuse_the_first(task: str, _: ChatRequest) -> ChatReply:
        if task == "1":
            raise ModelError("no such thing")
        return says("one")

    return Scripted(plan), Scripted(refuse_the_first)


@pytest.mark.parametrize("by_settings", [True, False])
async def test_a_failure_is_mended_by_a_revision_as_in_the_fleet(by_settings: bool) -> None:
    planner, executor = mending()
    if by_settings:
        settings = msgspec.structs.replace(SETTINGS, coordinator=CoordinatorSettings())
        result = await carry_out(planner=planner, executor=executor, settings=settings)
    else:
        result = await carry_out(planner=planner, executor=executor, revisions=1)
    assert result.answer == "one after all"
    assert planner.tasks == ["plan-1", "plan-2", "answer"]
    assert executor.tasks[0] == "1"
    assert len(executor.tasks) == 2


async def test_without_revisions_the_first_failure_is_the_end() -> None:
    planner, executor = mending()
    settings = msgspec.structs.replace(SETTINGS, coordinator=CoordinatorSettings())
    with pytest.raises(RunFailedError, match="task 1 failed: no such thing"):
        await carry_out(planner=planner, executor=executor, settings=settings, revisions=0)
    with pytest.raises(InvalidInputError, match="revisions is below 0"):
        await carry_out(planner=planner, executor=executor, revisions=-1)


async def test_what_a_server_refuses_for_good_is_not_tried_again() -> None:
    async def refused(task: str, request: ChatRequest) -> ChatReply:
        raise ModelError("no such model")

    executor = executing(refused)
    with pytest.raises(RunFailedError, match="task 1 failed: no such model") as caught:
        await carry_out(planner=planning(agent_task("1", "say one")), executor=executor)
    assert len(executor.requests) == 1
    assert caught.value.run.status == "failed"
    assert caught.value.run.tasks[1].error == "no such model"


async def test_a_plan_without_a_task_is_a_failure_that_says_so() -> None:
    with pytest.raises(RunFailedError, match="wrote no usable task"):
        await carry_out(planner=planning({"id": "1", "kind": "dance"}))


async def test_an_answer_that_fails_its_check_is_told_to_the_model_and_then_fails() -> None:
    async def cannot(task: str, request: ChatRequest) -> ChatReply:
        return says("")

    with pytest.raises(RunFailedError, match="task 1 failed"):
        await carry_out(planner=planning(agent_task("1", "say")), executor=executing(cannot))


async def test_a_tool_with_a_bug_fails_its_task() -> None:
    def broken(path: str) -> str:
        """Never works."""
        raise OSError(path)

    with pytest.raises(RunFailedError, match="task 1 failed: broken failed inside: OSError"):
        await carry_out(planner=planning(tool_task("1", "broken", {"path": "x"})), tools=[broken])


# time


async def test_a_job_whose_time_is_over_ends_with_what_it_has() -> None:
    async def hangs(task: str, request: ChatRequest) -> ChatReply:
        if task == "2":
            await anyio.sleep_forever()
        return says("one")

    executor = executing(hangs)
    planner = planning(agent_task("1", "say one"), agent_task("2", "hang"))
    with pytest.raises(RunFailedError, match="the run ran out of time") as caught:
        await carry_out(planner=planner, executor=executor, timeout=0.3)
    assert caught.value.run.status == "deadline_exceeded"
    assert caught.value.run.answer == {"results": {"1": "one"}}
    assert executor.now == 0, "what hung was stopped"


async def test_a_task_whose_time_is_over_is_stopped() -> None:
    stopped: list[str] = []

    async def hangs(task: str, request: ChatRequest) -> ChatReply:
        try:
            await anyio.sleep_forever()
        finally:
            stopped.append(task)
        raise AssertionError

    facts = Facts()
    with pytest.raises(RunFailedError, match="time that the plan gave this task is over"):
        await carry_out(
            planner=planning(agent_task("1", "hang", timeout=0.1)),
            executor=executing(hangs),
            on_event=facts,
        )
    assert stopped == ["1"]
    (done,) = [one for one in facts.of(Done) if one.task == "1"]
    assert (done.by, done.outcome.code) == ("coordinator", "deadline")
    (ready,) = [one for one in facts.of(Ready) if one.task.id == "1"]
    assert ready.deadline is not None


# money


async def test_tasks_at_once_never_pass_the_budget() -> None:
    async def slowly(task: str, request: ChatRequest) -> ChatReply:
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        return says(f"done: {task}")

    facts, executor = Facts(), executing(slowly)
    tasks = [agent_task(str(n), f"say {n}") for n in range(1, 10)]
    with pytest.raises(RunFailedError, match="ran out of its budget") as caught:
        await carry_out(
            planner=planning(*tasks), executor=executor, budget=Budget(calls=5), on_event=facts
        )
    assert len(executor.requests) == 4, "and one for the plan"
    assert max(entry.calls for entry in facts.of(Accounted)) == 5
    run_ = caught.value.run
    assert run_.status == "budget_exhausted"
    assert len(run_.answer["results"]) == 4


async def test_a_budget_of_tokens_is_waited_for_while_others_hold_it() -> None:
    """The room is for one reservation at a time, so the tasks take turns, and all are done."""
    executor = executing()
    planner = planning(*(agent_task(str(n), f"say {n}") for n in range(1, 5)))
    facts = Facts()
    result = await carry_out(
        planner=planner, executor=executor, budget=Budget(tokens=12_000), on_event=facts
    )
    assert result.status == "succeeded"
    assert max(entry.tokens for entry in facts.of(Accounted)) <= 12_000
    assert max(len(entry.held) for entry in facts.of(Accounted)) < 4
    last_entry = facts.of(Accounted)[-1]
    assert (last_entry.held, last_entry.tokens) == ({}, result.usage.tokens)


async def test_what_was_surely_not_asked_costs_nothing() -> None:
    failures = iter([UnavailableError("away"), None])

    async def away_once(task: str, request: ChatRequest) -> ChatReply:
        failure = next(failures)
        if failure is not None:
            raise failure
        return says("one")

    facts = Facts()
    await carry_out(
        planner=planning(agent_task("1", "say one")),
        executor=executing(away_once),
        budget=Budget(calls=3),
        on_event=facts,
    )
    assert facts.of(Accounted)[-1].calls == 3


async def test_the_facts_say_what_came_of_each_task() -> None:
    facts = Facts()
    await carry_out(planner=planning(agent_task("1", "say one")), on_event=facts)
    assert [(one.task, type(one.outcome)) for one in facts.of(Done)] == [
        ("plan-1", Succeeded),
        ("1", Succeeded),
        ("answer", Succeeded),
    ]
    assert not [one for one in facts.of(Done) if isinstance(one.outcome, Failed)]
    assert len(facts.of(Ended)) == 1


async def test_whoever_runs_it_hears_how_far_tools_are() -> None:
    heard: list[Progress] = []
    plan = planning(tool_task("1", "count", {}), tool_task("2", "count_in_a_thread", {}, "1"))
    await carry_out(planner=plan, tools=[count, count_in_a_thread], on_progress=heard.append)
    assert heard == [
        Progress(task=TaskId("1"), n=1, tool="count", note="one[2J", fraction=0.5),
        Progress(task=TaskId("1"), n=1, tool="count", note="two", fraction=1.0),
        Progress(task=TaskId("2"), n=1, tool="count_in_a_thread", note="one"),
    ]
