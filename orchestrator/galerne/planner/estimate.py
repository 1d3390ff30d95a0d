"""What a plan will take, before anything of it is spent: bounds on calls, tokens, money and time.

Each task is bounded by itself, and then the plan by its graph:

    a tool task      no tokens; from no time at all to the time that the tool may take
    an agent task    at least one turn; at most all turns of every model that it may move to
      its prompt     what is known of it now (instruction, goal, tools) in tokens; what is not yet
                     known (results, earlier turns) is nothing at least, and at most what the
                     model's context leaves, as a longer prompt is cut before it is sent
      its answers    one token at least, `max_tokens` at most
    for each element of a list that is not there yet: none at least, `MAX_ITEMS` at most
    a nested plan    the planner's turns at least; at most as many of the costliest tasks as a plan
                     or a list may have, and so on to `MAX_DEPTH`
    the answer       one turn of the planner's model, or two

The upper bound of tokens is one: no run of this very plan takes more, as long as no call has to be
made twice because its worker or its answer was lost. Between the bounds, `expected` rests on
assumptions that the estimate names. Time is the longest path through the graph, with a place for
every task that could run: no queue, no wait for people, no server that is away. Its upper bound is
made of timeouts; how fast a model answers is an assumption in the other two.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from galerne.core.groups import MAX_ITEMS
from galerne.messages.ids import TaskId
from galerne.messages.tools import ToolSpec
from galerne.planner.bounds import Bounds, Spend, cost, total_of
from galerne.planner.costs import Costs
from galerne.planner.plan import Plan
from galerne.planner.reckoning import ANSWER, Assumptions, Reckoner, TaskEstimate


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The whole plan from here on; planning itself is spent already and not in it.

    `path` is the chain of tasks that `seconds` is expected to follow. `alone` is what the same
    tokens cost on the model named, the planner's (None: it has no price). `assumed` are the guesses
    behind `expected`, `open` what no figure here contains; a sentence each.
    """

    tasks: tuple[TaskEstimate, ...]
    models: Mapping[str, Spend]
    total: Spend
    seconds: Bounds
    path: tuple[TaskId, ...]
    alone_on: str
    alone: Bounds | None
    assumed: tuple[str, ...]
    open: tuple[str, ...]


def estimate(
    plan: Plan,
    goal: str,
    tools: Sequence[ToolSpec],
    costs: Costs,
    inputs: Mapping[str, Any] | None = None,
    assumptions: Assumptions = Assumptions(),  # noqa: B008 - frozen
) -> Estimate:
    """The bounds of a plan that was made for `goal` with `tools` and `inputs`. Pure.

    The rules are in this module's docstring.
    """
    reckoner = Reckoner(plan, goal, tools, inputs, costs, assumptions)
    tasks = (*map(reckoner.task, plan.tasks), reckoner.closing())
    models: dict[str, Spend] = {}
    for task in tasks:
        for name, spend in task.total().items():
            models[name] = models.get(name, Spend()).plus(spend)
    total = total_of(models.values())
    prices = costs.planner.prices
    priced = prices.input > 0 or prices.output > 0
    seconds, path = _longest(plan, tasks)
    return Estimate(
        tasks=tasks,
        models=models,
        total=total,
        seconds=seconds,
        path=path,
        alone_on=costs.planner.name,
        alone=cost(total.prompt, total.answers, costs.planner) if priced else None,
        assumed=tuple(_assumed(models, costs, assumptions, tasks)),
        open=tuple(_open(plan)),
    )


def _longest(plan: Plan, tasks: Sequence[TaskEstimate]) -> tuple[Bounds, tuple[TaskId, ...]]:
    """The time of the longest chain in each of the three cases, and the one that is expected."""
    needs: dict[TaskId, Sequence[TaskId]] = {task.id: task.needs for task in plan.tasks}
    needs[ANSWER] = tuple(needs)
    lower, _ = _chain(tasks, needs, lambda one: one.seconds.lower if _certain(one) else 0.0)
    expected, path = _chain(tasks, needs, lambda one: one.seconds.expected)
    upper, _ = _chain(tasks, needs, lambda one: one.seconds.upper)
    return Bounds(lower, expected, upper), path


def _certain(task: TaskEstimate) -> bool:
    return task.count is None or task.count.lower > 0


def _chain(
    tasks: Sequence[TaskEstimate],
    needs: Mapping[TaskId, Sequence[TaskId]],
    seconds: Callable[[TaskEstimate], float],
) -> tuple[float, tuple[TaskId, ...]]:
    """Every need stands before its task, so one pass is enough."""
    ends: dict[TaskId, float] = {}
    before: dict[TaskId, TaskId | None] = {}
    for task in tasks:
        latest = max(
            (need for need in needs[task.id] if need in ends), key=ends.__getitem__, default=None
        )
        before[task.id] = latest
        ends[task.id] = seconds(task) + (0.0 if latest is None else ends[latest])
    path: list[TaskId] = []
    place: TaskId | None = ANSWER
    while place is not None:
        path.append(place)
        place = before[place]
    return ends[ANSWER], tuple(reversed(path))


def _assumed(
    models: Mapping[str, Spend],
    costs: Costs,
    assumptions: Assumptions,
    tasks: Sequence[TaskEstimate],
) -> Iterable[str]:
    expected = {name for name, spend in models.items() if spend.calls.expected}
    speeds = dict.fromkeys(
        model.assumed for model in (*costs.ladder, costs.planner) if model.name in expected
    )
    if speeds:
        yield f"a short answer takes {'; '.join(filter(None, speeds))}"
    yield (
        f"an answer or call has {assumptions.reply} tokens, a result {assumptions.result};"
        f" a tool takes {assumptions.tool_seconds:g} s"
    )
    if any(task.count is not None and task.count.upper == MAX_ITEMS for task in tasks):
        yield f"a list that is not there yet has {assumptions.items} element"


def _open(plan: Plan) -> Iterable[str]:
    yield "calls that are made again because an answer was lost, and queues for places"
    yield "a revision of the plan, where a task fails for good"
    if any(task.kind == "ask" or task.approve for task in plan.tasks):
        yield "the time that people take to answer"
    if any(task.kind == "plan" for task in plan.tasks):
        yield "what a nested plan will hold: only its planning is in what is expected"
