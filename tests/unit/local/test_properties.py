"""Any graph, any luck: tasks start after what they need, and no limit is ever passed."""

from typing import Any

import anyio
import anyio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st

from galerne import Budget, RunFailedError, RunResult, tool
from galerne.errors import BadAnswerError, UnavailableError
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import Accounted, Claimed, Done, Ended, Ready
from galerne.messages.plan import Succeeded
from unit.local.scripted import (
    Facts,
    agent_task,
    carry_out,
    executing,
    planning,
    says,
    tool_task,
    with_worker,
)


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[str, ...]]:
    """The needs of tasks 1, 2, 3 …, each among those before it."""
    size = draw(st.integers(1, 9))
    return [
        tuple(draw(st.lists(st.sampled_from([str(n) for n in range(1, at)]), unique=True)))
        if at > 1
        else ()
        for at in range(1, size + 1)
    ]


def finished(**options: Any) -> RunResult | RunFailedError:
    async def carried_out() -> RunResult | RunFailedError:
        try:
            return await carry_out(**options)
        except RunFailedError as error:
            return error

    return anyio.run(carried_out)


async def a_while(turns: int) -> None:
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()


@given(graphs(), st.lists(st.integers(0, 12), min_size=9, max_size=9), st.integers(1, 4))
@settings(max_examples=60)
def test_a_task_starts_after_what_it_needs(
    graph: list[tuple[str, ...]], pauses: list[int], slots: int
) -> None:
    running = most = 0

    @tool
    async def step(n: int) -> int:
        """Take a while."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await a_while(pauses[n - 1])
        running -= 1
        return n

    facts = Facts()
    tasks = [tool_task(str(n), "step", {"n": n}, *needs) for n, needs in enumerate(graph, 1)]
    result = finished(
        planner=planning(*tasks),
        tools=[step],
        on_event=facts,
        settings=with_worker(concurrency=slots),
    )
    assert isinstance(result, RunResult)
    assert most <= slots
    done: set[str] = set()
    for fact in facts.all:
        if isinstance(fact, Done):
            done.add(fact.task)
        if isinstance(fact, Ready) and fact.task.kind == "tool":
            assert set(fact.task.needs) <= done
    assert {str(n) for n in range(1, len(graph) + 1)} <= done


Luck = st.lists(st.sampled_from(["well", "well", "away", "bad", "slow"]), min_size=40, max_size=40)


@given(graphs(), Luck, st.integers(1, 14))
@settings(max_examples=60)
def test_no_luck_passes_a_budget_and_every_run_ends(
    graph: list[tuple[str, ...]], luck: list[str], calls: int
) -> None:
    rest = iter(luck)

    async def answer(task: str, request: ChatRequest) -> ChatReply:
        del request
        match next(rest, "well"):
            case "away":
                raise UnavailableError("away")
            case "bad":
                raise BadAnswerError("gibberish")
            case "slow":
                await a_while(20)
            case _:
                pass
        return says(f"done: {task}")

    facts, model = Facts(), executing(answer)
    tasks = [agent_task(str(n), f"say {n}", *needs) for n, needs in enumerate(graph, 1)]
    result = finished(
        planner=planning(*tasks),
        executor=model,
        budget=Budget(calls=calls),
        on_event=facts,
        settings=with_worker(retry_away="0.001..0.002", retry_bad_answer="0.001..0.002"),
    )
    assert isinstance(facts.all[-1], Ended)
    assert len(facts.of(Ended)) == 1
    assert all(entry.calls <= calls for entry in facts.of(Accounted))
    assert model.now == 0
    outcomes: dict[str, Any] = {}
    for fact in facts.of(Done):
        assert fact.task not in outcomes, "an outcome stands"
        outcomes[fact.task] = fact.outcome
    if isinstance(result, RunResult):
        assert all(isinstance(one, Succeeded) for one in outcomes.values())
    attempts = [one for one in facts.of(Claimed) if one.until > 0]
    assert all(one.attempt - one.excused <= 3 for one in attempts)
