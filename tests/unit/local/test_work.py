"""Rarer ways: moves up a ladder, agents with bugs, plans that break off, a cancelled job."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import anyio
import pytest

from galerne.agent import Agent, TaskContext, load_agents
from galerne.errors import BadAnswerError, ModelError, TooLongError, UnavailableError
from galerne.local import scheduler
from galerne.local.blobs import MemoryBlobs
from galerne.local.log import LocalLog
from galerne.local.scheduler import Scheduler
from galerne.local.work import Work
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import (
    LANES,
    Cancelled,
    Done,
    Ended,
    JobSpec,
    Lane,
    Moved,
    PlanEnded,
    Planned,
)
from galerne.messages.ids import DEFAULT_TENANT, JobId, TaskId
from galerne.messages.plan import TaskKind, TaskSpec
from galerne.models.ladder import Ladder, Rung
from unit.local.scripted import (
    PATIENCE,
    SETTINGS,
    Facts,
    Scripted,
    agent_task,
    executing,
    planning,
    says,
)

pytestmark = pytest.mark.anyio

CLOCK = 1_000_000.0


class Moments:
    """A clock that goes on by a millisecond each time it is looked at."""

    def __init__(self) -> None:
        self.now = CLOCK

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def agent(doing: Callable[[TaskContext], Any], lane: Lane, *kinds: TaskKind) -> dict[str, Agent]:
    own_lane, own_kinds = lane, frozenset(kinds)

    class Own:
        lane: ClassVar[Lane] = own_lane
        kinds: ClassVar[frozenset[TaskKind]] = own_kinds

        async def run(self, context: TaskContext) -> Any:
            return await doing(context)

    return dict.fromkeys(kinds, Own())


def unheard(*_: object) -> None:
    """Nobody listens."""


async def to_the_end(
    *,
    planner: Scripted | None = None,
    executors: Sequence[Scripted] = (),
    agents: Mapping[Lane, Mapping[str, Agent]] | None = None,
    on_log: Callable[[LocalLog], None] | None = None,
    revisions: int = 0,
) -> tuple[Ended, Facts]:
    """`executors` are a ladder, the smallest first; `agents` take the place of the installed."""
    facts, clock = Facts(), Moments()
    log = LocalLog(clock, facts)
    rungs = [Rung(f"model-{n}", one) for n, one in enumerate(executors or [executing()], 1)]
    installed: dict[Lane, Mapping[str, Agent]] = {lane: load_agents(lane) for lane in LANES}
    work = Work(
        JobSpec(id=JobId("j"), tenant=DEFAULT_TENANT, goal="g", revisions=revisions),
        log,
        SETTINGS,
        ladders={
            "planner": Ladder(Rung("planner", planner or planning(agent_task("1", "say")))),
            "executor": Ladder(rungs[0], rungs[1:]),
        },
        agents={**installed, **(agents or {})},
        tools={},
        blobs=MemoryBlobs(1_000_000, 10_000),
        on_text=unheard,
        on_progress=unheard,
        clock=clock,
        jitter=lambda: 0.0,
    )
    if on_log is not None:
        on_log(log)
    with anyio.fail_after(PATIENCE):
        return await Scheduler(work, None, lambda: None).run(), facts


async def unable(task: str, request: ChatRequest) -> ChatReply:
    return says("I cannot do that.")


async def too_long(task: str, request: ChatRequest) -> ChatReply:
    raise TooLongError("it does not fit into 8,192 tokens")


async def test_a_task_goes_up_the_ladder_and_each_move_is_a_fact() -> None:
    small, middle, large = executing(unable), executing(too_long), executing()
    ended, facts = await to_the_end(executors=[small, middle, large])
    assert ended.status == "succeeded"
    moves = facts.of(Moved)
    assert [(one.from_model, one.to_model, one.refused) for one in moves] == [
        ("model-1", "model-2", None),
        ("model-2", "model-3", 3),
    ]
    assert (len(small.requests), len(middle.requests), len(large.requests)) == (2, 1, 1)


async def test_after_a_failure_the_task_goes_on_where_it_had_moved_to() -> None:
    async def gives_up(task: str, request: ChatRequest) -> ChatReply:
        if len(large.requests) == 1:
            raise UnavailableError("away")
        return says("done")

    small, large = executing(too_long), executing(gives_up)
    ended, facts = await to_the_end(executors=[small, large])
    assert ended.status == "succeeded"
    assert len(facts.of(Moved)) == 1
    assert (len(small.requests), len(large.requests)) == (1, 2), "the small one is not asked again"


async def test_an_agent_with_a_bug_fails_its_task_and_not_the_run_of_others() -> None:
    async def breaks(context: TaskContext) -> Any:
        known: dict[str, Any] = {}
        return known["nothing"]

    ended, _ = await to_the_end(agents={"executor": agent(breaks, "executor", "agent", "tool")})
    assert ended.error == "task 1 failed: the agent failed inside: KeyError: 'nothing'"


@pytest.mark.parametrize("value", [object(), {1: object()}, float("nan")])
async def test_a_value_that_is_no_json_fails_its_task(value: Any) -> None:
    async def gives(context: TaskContext) -> Any:
        return value

    ended, facts = await to_the_end(agents={"executor": agent(gives, "executor", "agent", "tool")})
    (done,) = [one for one in facts.of(Done) if one.task == "1"]
    if isinstance(value, float):
        assert done.outcome.value is None, "as JSON has it"
    else:
        assert ended.error is not None
        assert "cannot be stored" in ended.error


async def test_a_kind_of_task_that_no_agent_does_says_so() -> None:
    async def echoes(context: TaskContext) -> Any:
        return "x"

    ended, _ = await to_the_end(agents={"executor": agent(echoes, "executor", "tool")})
    assert ended.error == (
        "task 1 failed: no installed agent does 'agent' tasks in the lane 'executor'"
    )


async def test_a_planner_that_fails_in_the_middle_reads_what_it_has_written() -> None:
    read: list[list[str]] = []

    async def plans(context: TaskContext) -> Any:
        if context.ready.task.kind == "answer":
            return "the answer"
        read.append([one.task.id for one in await context.planned()])
        n = len(read[-1]) + 1
        task = TaskSpec(id=TaskId(str(n)), instruction="say")
        context.write(Planned(revision=1, n=n, task=task))
        if n < 3:
            raise BadAnswerError("it broke off")
        context.write(PlanEnded(revision=1, count=n))
        return {"tasks": n}

    ended, facts = await to_the_end(agents={"planner": agent(plans, "planner", "plan", "answer")})
    assert ended.status == "succeeded"
    assert read == [[], ["1"], ["1", "2"]]
    assert len(facts.of(Planned)) == 3


async def test_a_fact_in_whose_place_another_stands_is_another_attempts_fault() -> None:
    attempts: list[int] = []

    async def plans(context: TaskContext) -> Any:
        if context.ready.task.kind == "answer":
            return "the answer"
        attempts.append(context.attempt)
        words = f"attempt {context.attempt}"
        if context.attempt < 3:
            context.write(
                Planned(revision=1, n=1, task=TaskSpec(id=TaskId("1"), instruction=words))
            )
        if context.attempt == 1:
            raise BadAnswerError("it broke off")
        context.write(PlanEnded(revision=1, count=1))
        return {}

    ended, _ = await to_the_end(agents={"planner": agent(plans, "planner", "plan", "answer")})
    assert ended.status == "succeeded"
    assert attempts == [1, 2, 3]


async def test_a_revision_mends_what_failed_and_stops_what_it_does_without() -> None:
    async def plans(context: TaskContext) -> Any:
        ready = context.ready
        if ready.task.kind == "answer":
            return "the answer"
        if not ready.failed:
            for n, word in enumerate(("fail", "hang"), 1):
                task = TaskSpec(id=TaskId(str(n)), instruction=word)
                context.write(Planned(revision=1, n=n, task=task))
            context.write(PlanEnded(revision=1, count=2))
            return {}
        better = TaskSpec(id=TaskId("3"), instruction="do", replaces=TaskId("1"))
        context.write(Planned(revision=2, n=1, task=better))
        context.write(PlanEnded(revision=2, count=1, dropped=(TaskId("2"),)))
        return {}

    async def does(task: str, request: ChatRequest) -> ChatReply:
        if task == "1":
            raise ModelError("no such model")
        if task == "2":
            await anyio.sleep_forever()
        return says("done")

    model = executing(does)
    ended, facts = await to_the_end(
        executors=[model],
        agents={"planner": agent(plans, "planner", "plan", "answer")},
        revisions=2,
    )
    assert ended.status == "succeeded"
    outcomes = {one.task: one.outcome for one in facts.of(Done)}
    assert outcomes["2"].code == "dropped"
    assert outcomes["3"].value == "done"
    assert model.now == 0, "what the plan does without was stopped"
    assert facts.names.index("done.2") < facts.names.index("end")


async def test_a_cancelled_job_stops_and_says_why() -> None:
    async def hangs(task: str, request: ChatRequest) -> ChatReply:
        logs[0].write(Cancelled(why="no longer wanted", at=CLOCK))
        await anyio.sleep_forever()
        raise AssertionError

    logs: list[LocalLog] = []
    model = executing(hangs)

    ended, _ = await to_the_end(executors=[model], on_log=logs.append)
    assert (ended.status, ended.error) == ("cancelled", "no longer wanted")
    assert model.now == 0


async def test_what_cannot_be_decided_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(scheduler, "decide", broken)
    ended, _ = await to_the_end()
    assert ended.status == "failed"
    assert "cannot be decided: ZeroDivisionError: by zero" in (ended.error or "")
