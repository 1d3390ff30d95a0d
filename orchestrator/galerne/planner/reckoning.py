"""The bounds of single tasks; `estimate` says by which rules."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from galerne.core.groups import MAX_DEPTH, MAX_ITEMS
from galerne.core.starts import INPUT_LIMIT
from galerne.messages.ids import TaskId
from galerne.messages.plan import Effort, ModelClass, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.models.tokens import ESTIMATE, at_least, at_most
from galerne.planner.bounds import Bounds, Spend, cost, only_upper
from galerne.planner.check import MAX_TASKS
from galerne.planner.costs import Costs, ModelCosts
from galerne.planner.plan import Plan
from galerne.planner.prompt import answer_request, planner_request

ANSWER: Final = TaskId("answer")
TURNS: Final[Mapping[Effort, int]] = {"low": 4, "medium": 12, "high": 24}
"""Turns of one conversation, at most."""
NESTED_ANSWER: Final = 300
"""Tokens of a nested plan, as it is expected: five or six tasks."""
_TOOL_TIMEOUT: Final = ToolSpec(name="", description="", parameters={}).timeout


class Assumptions(msgspec.Struct, frozen=True, kw_only=True):
    """What nobody can know before: sizes in tokens, times in seconds. Only `expected` rests on it,
    but for `system`, which is also the bound of what an executor is told beside its task.
    """

    system: int = 1_000
    """Of an executor's prompt without its task: at most."""
    typical_system: int = 250
    reply: int = 120
    """Of a model's answer or call."""
    result: int = 300
    """Of a task's or a tool's result."""
    tool_seconds: float = 0.2
    """Of a tool's call."""
    items: int = 1
    """Elements of a list that is not there yet."""


class TaskEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """One task; `models` is by name. `count` is how often it is done, where that is not once.

    What `models` and `seconds` say is for one time. `note` is what has to be said of it.
    """

    id: TaskId
    models: Mapping[str, Spend] = {}
    seconds: Bounds = Bounds()
    count: Bounds | None = None
    note: str = ""

    def total(self) -> Mapping[str, Spend]:
        if self.count is None:
            return self.models
        return {name: spend.times(self.count) for name, spend in self.models.items()}


class Reckoner:
    """The bounds of single tasks."""

    def __init__(
        self,
        plan: Plan,
        goal: str,
        tools: Sequence[ToolSpec],
        inputs: Mapping[str, Any] | None,
        costs: Costs,
        assumptions: Assumptions,
    ) -> None:
        self._plan = plan
        self._goal = goal
        self._inputs = bool(inputs)
        self._tools = {tool.name: tool for tool in tools}
        self._costs = costs
        self._assumptions = assumptions

    def task(self, task: TaskSpec) -> TaskEstimate:
        models: Mapping[str, Spend] = {}
        note = ""
        match task.kind:
            case "tool":
                seconds = self._tool_seconds(task)
            case "ask":
                seconds, note = Bounds(), "waits for a person"
            case "plan":
                models, seconds = self._nested(task)
                note = f"a plan of its own: up to {MAX_TASKS} tasks, {MAX_DEPTH} deep"
            case _:
                models, seconds = self._agent(task)
        if task.foreach is None:
            return TaskEstimate(id=task.id, models=models, seconds=seconds, note=note)
        count, said = self._count(task.foreach)
        return TaskEstimate(
            id=task.id, models=models, seconds=seconds, count=count, note=said or note
        )

    def _count(self, foreach: Any) -> tuple[Bounds, str]:
        if isinstance(foreach, list):
            size = len(foreach)  # pyright: ignore[reportUnknownArgumentType] - any JSON
            return Bounds(size, size, size), f"for each of {size} elements"
        expected = self._assumptions.items
        return (
            Bounds(0, expected, MAX_ITEMS),
            f"per element: the list is not there yet, at most {MAX_ITEMS} elements",
        )

    def _tool_seconds(self, task: TaskSpec) -> Bounds:
        spec = self._tools.get(task.tool or "")
        most = task.timeout or (
            spec.timeout if spec is not None else ToolSpec.__struct_defaults__[1]
        )
        return Bounds(0.0, min(self._assumptions.tool_seconds, most), most)

    def _agent(self, task: TaskSpec) -> tuple[dict[str, Spend], Bounds]:
        ladder = _from(self._costs.ladder, task.model)
        turns = TURNS[task.effort or "medium"]
        offered = self._offered(task)
        schemas = [tool.schema() for tool in offered]
        size = at_most(self._goal) + at_most(task.instruction) + ESTIMATE.tools(schemas)
        size += 0 if task.output is None else 2 * at_most(str(task.output))
        least = at_least(task.instruction) + ESTIMATE.least((), schemas)
        models: dict[str, Spend] = {}
        for place, model in enumerate(ladder):
            spend = self._conversation(model, turns, size, least, task, offered)
            spend = spend if place == 0 else only_upper(spend)
            models[model.name] = models.get(model.name, Spend()).plus(spend)
        seconds = self._agent_seconds(task, ladder, models, turns, offered)
        return models, seconds

    def _conversation(
        self,
        model: ModelCosts,
        turns: int,
        size: int,
        least: int,
        task: TaskSpec,
        offered: Sequence[ToolSpec],
    ) -> Spend:
        """With one model: the first prompt is mostly known, the later ones have what came since."""
        guess = self._assumptions
        calls = Bounds(1, min(turns, 1 + self._expected_calls(task, offered)), turns)
        results = len(task.needs)
        unknown = INPUT_LIMIT if results or self._inputs else 0  # bytes; a token has one at least
        first = min(model.room, guess.system + size + unknown)
        opening = guess.typical_system + size + results * guess.result
        grown = calls.expected * (calls.expected - 1) / 2 * (guess.reply + guess.result)
        prompt = Bounds(
            min(least, model.room),
            min(calls.expected * min(opening, model.room) + grown, calls.expected * model.room),
            max(first, min(size, model.context)) + (turns - 1) * model.room,
        ).ordered()
        answers = Bounds(1, calls.expected * min(guess.reply, model.answer), turns * model.answer)
        return Spend(calls, prompt, answers, cost(prompt, answers, model))

    def _agent_seconds(
        self,
        task: TaskSpec,
        ladder: Sequence[ModelCosts],
        models: Mapping[str, Spend],
        turns: int,
        offered: Sequence[ToolSpec],
    ) -> Bounds:
        first = ladder[0]
        spend = models[first.name]
        each = spend.answers.expected / spend.calls.expected
        used = self._expected_calls(task, offered) * self._assumptions.tool_seconds
        slowest = max((tool.timeout for tool in offered), default=0.0)
        most = sum(turns * (model.timeout + slowest) for model in ladder)
        if task.timeout is not None:
            most = min(most, task.timeout)
        expected = spend.calls.expected * first.seconds(each) + used
        return Bounds(min(first.short, most), min(expected, most), most)

    def _offered(self, task: TaskSpec) -> list[ToolSpec]:
        names = self._tools if task.tools is None else task.tools
        return [self._tools[name] for name in names if name in self._tools]

    def _expected_calls(self, task: TaskSpec, offered: Sequence[ToolSpec]) -> int:
        """One of each tool that the task names; one where it may use whatever there is."""
        if task.tools is None:
            return min(1, len(offered))
        return len(offered)

    def _nested(self, task: TaskSpec, depth: int = 1) -> tuple[dict[str, Spend], Bounds]:
        """The planner's own turns, which are certain, and as many tasks as limits allow."""
        model = self._costs.planner
        asked = planner_request(task.instruction, tuple(self._tools.values()))
        size = min(model.room, ESTIMATE.prompt(asked.messages))
        least = min(model.room, ESTIMATE.least(asked.messages))
        prompt, answers = (
            Bounds(least, size, 2 * model.room),
            Bounds(1, NESTED_ANSWER, 2 * model.answer),
        )
        own = Spend(Bounds(1, 1, 2), prompt, answers, cost(prompt, answers, model))
        seconds = Bounds(model.short, model.seconds(answers.expected), 2 * model.timeout).ordered()
        costliest = msgspec.structs.replace(task, kind="agent", tools=None, effort="high")
        inner, inside = (
            self._nested(task, depth + 1) if depth < MAX_DEPTH else self._agent(costliest)
        )
        most = max(MAX_TASKS, MAX_ITEMS)  # a task of it may be a list again
        models = {name: spend.times(Bounds(0, 0, most)) for name, spend in inner.items()}
        models[model.name] = models.get(model.name, Spend()).plus(own)
        return models, seconds.plus(Bounds(0, 0, most * inside.upper))

    def closing(self) -> TaskEstimate:
        """The job's answer, from all results."""
        model, guess = self._costs.planner, self._assumptions
        results: dict[str, Any] = {
            task.id: {"instruction": task.instruction} for task in self._plan.tasks
        }
        asked = answer_request(self._goal, results)
        size = ESTIMATE.prompt(asked.messages)
        least = ESTIMATE.least(answer_request(self._goal, {}).messages)
        needed = {need for task in self._plan.tasks for need in task.needs}
        last = sum(task.id not in needed for task in self._plan.tasks)
        expected = min(model.room, size + last * guess.result)
        prompt = Bounds(least, expected, 2 * model.room).ordered()
        answers = Bounds(1, min(guess.reply, model.answer), 2 * model.answer)
        spend = Spend(Bounds(1, 1, 2), prompt, answers, cost(prompt, answers, model))
        seconds = Bounds(model.short, model.seconds(answers.expected), 2 * model.timeout).ordered()
        return TaskEstimate(id=ANSWER, models={model.name: spend}, seconds=seconds)


def _from(ladder: Sequence[ModelCosts], wanted: ModelClass | None) -> Sequence[ModelCosts]:
    """The models that a task may come to, the one that it begins with first."""
    match wanted:
        case "medium":
            return ladder[min(1, len(ladder) - 1) :]
        case "large":
            return ladder[-1:]
        case _:
            return ladder
