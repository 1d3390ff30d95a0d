"""The agent that plans: it writes each task as a fact the moment the model has written it.

The number `n` of a task is its place among the plan's facts. What an earlier attempt has written
is read first: those tasks are not written again, whether the model's words come back from the
journal or a new answer goes on after them, and new ones take the next free numbers.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any, ClassVar

from galerne.agent import TaskContext
from galerne.errors import InvalidInputError, PermanentError
from galerne.messages.facts import Lane, PlanEnded, Planned
from galerne.messages.ids import TaskId, plan_task
from galerne.messages.plan import TaskKind, TaskSpec
from galerne.planner import PlanBrief, converse, no_task


class PlannerAgent:
    """Plans a job. Its value is `{"tasks": how many, "rejected": [reason, …]}`."""

    lane: ClassVar[Lane] = "planner"
    kinds: ClassVar[frozenset[TaskKind]] = frozenset({"plan"})

    async def run(self, context: TaskContext) -> Any:
        """Raises PermanentError when neither turn gave a usable task: a journaled answer stays."""
        revision = _revision(context.ready.task.id)
        writer = _Writer(context, revision, await context.planned())
        brief = PlanBrief(
            context.ready.goal, await context.tools(), context.ready.inputs, writer.already
        )
        rejected = await converse(context.ask, brief, writer.write)
        if not writer.count:
            raise PermanentError(no_task(rejected))
        context.write(PlanEnded(revision=revision, count=writer.count, rejected=rejected))
        return {"tasks": writer.count, "rejected": [one.reason for one in rejected]}


class _Writer:
    """Gives each new task the lowest number that no written task has."""

    def __init__(self, context: TaskContext, revision: int, planned: Sequence[Planned]) -> None:
        self.already = tuple(fact.task for fact in planned)
        self.count = len(planned)
        self._context = context
        self._revision = revision
        used = {fact.n for fact in planned}
        self._free = (n for n in count(1) if n not in used)

    def write(self, task: TaskSpec) -> None:
        self._context.write(Planned(revision=self._revision, n=next(self._free), task=task))
        self.count += 1


def _revision(task: TaskId) -> int:
    number = task.removeprefix("plan-")
    if not (number.isascii() and number.isdecimal() and plan_task(int(number)) == task):
        raise InvalidInputError(f"{task!r} is not the task of a plan; those are plan-1, plan-2, …")
    return int(number)
