"""The agent that plans: it writes each task as a fact the moment the model has written it.

    plan-1    the job's first plan; where a person reviews it, a draft that is only its value
    plan-2 …  revisions: what has failed is replaced, or the plan goes on without it
    4--plan   the nested plan of task 4

The number `n` of a task is its place among the plan's facts. What an earlier attempt has written
is read first: those tasks are not written again, whether the model's words come back from the
journal or a new answer goes on after them, and new ones take the next free numbers.
"""

from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Any, ClassVar

import msgspec

from galerne.agent import TaskContext
from galerne.errors import PermanentError
from galerne.messages.facts import Lane, PlanEnded, Planned, Ready
from galerne.messages.ids import TaskId, above, below, is_reserved, plan_task, revision_of
from galerne.messages.plan import TaskKind, TaskSoFar, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.planner import PlanBrief, Planning, converse, no_task
from galerne_agents.longer import ask_longer
from galerne_agents.summing_up import sum_up


class PlannerAgent:
    """Plans a job, or a part of it. Its value is `{"tasks": how many, "rejected": [reason, …]}`.

    The value of a draft is `{"tasks": [task, …], "rejected": […]}`. In a long conversation that of
    the first plan has a `summary` of what was said before, too.
    """

    lane: ClassVar[Lane] = "planner"
    kinds: ClassVar[frozenset[TaskKind]] = frozenset({"plan"})

    async def run(self, context: TaskContext) -> Any:
        """Raises PermanentError when neither turn gave a usable task: a journaled answer stays."""
        tools = await context.tools()
        if context.ready.review:
            return await _draft(context, tools)
        writer = _Writer(context, await context.planned())
        brief = _brief(context, tools, writer.already)
        planning = await converse(partial(ask_longer, context), brief, writer.write)
        if not (writer.count or planning.dropped or planning.gave_up):
            raise PermanentError(no_task(planning.rejected))
        writer.end(planning)
        rejected = [one.reason for one in planning.rejected]
        return {"tasks": writer.count, "rejected": rejected, **await _summary(context)}


async def _draft(context: TaskContext, tools: Sequence[ToolSpec]) -> Any:
    tasks: list[TaskSpec] = []
    planning = await converse(
        partial(ask_longer, context), _brief(context, tools, ()), tasks.append
    )
    if not tasks:
        raise PermanentError(no_task(planning.rejected))
    reasons = [one.reason for one in planning.rejected]
    listed = [msgspec.to_builtins(task) for task in tasks]
    return {"tasks": listed, "rejected": reasons, **await _summary(context)}


async def _summary(context: TaskContext) -> dict[str, Any]:
    """Once in a job: in its first plan."""
    if context.ready.task.id != plan_task(1):
        return {}
    summary = await sum_up(context)
    return {} if summary is None else {"summary": msgspec.to_builtins(summary)}


def _brief(
    context: TaskContext, tools: Sequence[ToolSpec], already: Sequence[TaskSpec]
) -> PlanBrief:
    brief = _unworded(context.ready, tools, already)
    return msgspec.structs.replace(brief, prompts=context.prompts)


def _unworded(ready: Ready, tools: Sequence[ToolSpec], already: Sequence[TaskSpec]) -> PlanBrief:
    parent = _parent(ready.task.id)
    if parent is not None:
        return _nested(ready, parent, tools, already)
    revision = revision_of(ready.task.id)
    if revision == 1:
        return PlanBrief(ready.goal, tools, ready.inputs, already, ready.history)
    so_far = msgspec.convert(ready.inputs.get("plan", []), list[TaskSoFar])
    return PlanBrief(
        ready.goal,
        tools,
        ready.inputs.get("inputs"),
        already,
        ready.history,
        so_far=so_far,
        failed=ready.failed,
        missing=ready.missing,
        revision=revision,
    )


def _nested(
    ready: Ready, parent: TaskId, tools: Sequence[ToolSpec], already: Sequence[TaskSpec]
) -> PlanBrief:
    """Its goal is that of its task; the results of the needs may be needed in it, too."""
    wanted = ready.task.tools
    offered = [tool for tool in tools if wanted is None or tool.name in wanted]
    done = [
        # Of kind tool: what form its result has, nobody knows before they look.
        TaskSoFar(
            task=TaskSpec(id=need, kind="tool"),
            standing="succeeded",
            result=ready.inputs.get(need),
        )
        for need in ready.task.needs
    ]
    others = {name: value for name, value in ready.inputs.items() if name not in ready.task.needs}
    return PlanBrief(ready.task.instruction, offered, others, already, so_far=done, parent=parent)


def _parent(task: TaskId) -> TaskId | None:
    """The task that a nested plan is for."""
    parent = None if is_reserved(task) else above(task)
    return parent if parent is not None and task == below(parent, "plan") else None


class _Writer:
    """Gives each new task the lowest number that no written task has."""

    def __init__(self, context: TaskContext, planned: Sequence[Planned]) -> None:
        task = context.ready.task.id
        self.already = tuple(fact.task for fact in planned)
        self.count = len(planned)
        self._context = context
        self._parent = _parent(task)
        self._revision = 1 if self._parent is not None else revision_of(task)
        used = {fact.n for fact in planned}
        self._free = (n for n in count(1) if n not in used)

    def write(self, task: TaskSpec) -> None:
        n = next(self._free)
        self._context.write(Planned(revision=self._revision, n=n, task=task, parent=self._parent))
        self.count += 1

    def end(self, planning: Planning) -> None:
        self._context.write(
            PlanEnded(
                revision=self._revision,
                count=self.count,
                rejected=planning.rejected,
                parent=self._parent,
                dropped=planning.dropped,
                gave_up=planning.gave_up,
            )
        )
