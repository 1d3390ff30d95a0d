"""What a job's facts add up to: the state that `core.fold` keeps, and what can be asked of it.

Facts are write-once, so the state is a function of the *set* of facts. Beside what the facts say,
it keeps indexes (`core.index`) so that a decision costs no more in a large job than in a small one:
how many needs each task still misses, who waits for whom, which tasks may start now.

Three things are not facts but follow from them. A task that is done for each element of a list has
*parts*, and so has a nested plan the task that plans it (`groups`). A later revision may let a task
stand for another (`replaced`), and do without tasks (`gone`).
"""

from typing import Any

import msgspec

from galerne.core.asks import Asks
from galerne.core.usage import step_usage
from galerne.messages.facts import (
    Accounted,
    Cancelled,
    Claimed,
    Done,
    Ended,
    JobSpec,
    Moved,
    PlanEnded,
    Planned,
    Ready,
    Step,
)
from galerne.messages.ids import TaskId, is_reserved, plan_task
from galerne.messages.plan import Failed, Succeeded, TaskSpec, Usage


class TaskTimes(msgspec.Struct):
    """Unix seconds of the first time that each thing was seen in the log."""

    ready: float | None = None
    claimed: float | None = None
    done: float | None = None


class Group(msgspec.Struct):
    """A task that is done through others: the elements of a list, or the tasks of a nested plan.

    `open` are those that have neither succeeded nor gone. `fault` is why it cannot be done.
    """

    items: list[Any] | None = None
    open: set[TaskId] = set()
    fault: Failed | None = None


class JobState(msgspec.Struct):
    """One job. Change it with `fold` only."""

    job: JobSpec | None = None
    submitted_at: float | None = None
    planned: dict[TaskId, Planned] = {}
    plan_ends: dict[int, PlanEnded] = {}
    nested_ends: dict[TaskId, PlanEnded] = {}
    """The ends of nested plans, by the task that each is for."""
    ready: dict[TaskId, Ready] = {}
    claims: dict[TaskId, Claimed] = {}
    given_back: dict[TaskId, Claimed] = {}
    """The last claim of a task that ended with a fault, and why it did."""
    steps: dict[tuple[TaskId, int], Step] = {}
    moves: dict[tuple[TaskId, int], Moved] = {}
    done: dict[TaskId, Done] = {}
    asks: Asks = msgspec.field(default_factory=Asks)
    account: Accounted | None = None
    cancelled: Cancelled | None = None
    ended: Ended | None = None
    times: dict[TaskId, TaskTimes] = {}

    missing: dict[TaskId, int] = {}
    """Planned tasks → how many of their needs have not succeeded."""
    children: dict[TaskId, set[TaskId]] = {}
    """A need that has not succeeded → the planned tasks that wait for it."""
    startable: set[TaskId] = set()
    """Planned tasks that miss nothing, are neither ready nor done, and wait for nobody's word."""
    unfinished: set[TaskId] = set()
    """Planned tasks without an outcome."""
    under_way: set[TaskId] = set()
    """Tasks (planned or not) that are ready or running."""
    numbers: dict[int, set[int]] = {}
    """A revision → the numbers of its tasks that the log holds."""
    spoiled: dict[int, set[int]] = {}
    """A revision → the numbers under which stands what nobody can read."""
    nested: dict[TaskId, dict[int, TaskId]] = {}
    """A task → the tasks of its nested plan by their numbers."""
    failed: set[TaskId] = set()
    """Tasks (planned or not) that ended in failure."""
    out_of_budget: set[TaskId] = set()
    """Those of them that the job's budget stopped."""
    started: set[TaskId] = set()
    """Planned tasks, or such as have no reserved id, that are or were ready."""
    resumed: dict[TaskId, int] = {}
    """Tasks → after how many answers they were queued anew."""
    requeued: dict[TaskId, int] = {}
    """Tasks → how often they were queued anew because the queue had lost them."""
    to_resume: set[TaskId] = set()
    """Tasks that are ready, not done, and have got an answer since they were last queued."""
    groups: dict[TaskId, Group] = {}
    """Tasks that are done through others, once those are known."""
    parts: dict[TaskId, TaskSpec] = {}
    """Tasks that nobody planned: of the elements of a list, and those that plan nested plans."""
    owner: dict[TaskId, TaskId] = {}
    """A part, or a task of a nested plan → the task that it is a part of."""
    complete: set[TaskId] = set()
    """Groups without an outcome of which nothing is left to do."""
    replaced: dict[TaskId, TaskId] = {}
    """A task → the one that a later revision has put in its place."""
    gone: set[TaskId] = set()
    """Tasks that the plan does without: replaced, dropped, or waiting for one of those."""

    def spec(self, task: TaskId) -> TaskSpec | None:
        """Of a planned task or of a part."""
        planned = self.planned.get(task)
        return planned.task if planned else self.parts.get(task)

    def stands_for(self, task: TaskId) -> TaskId:
        """The task itself, or what a later revision has put in its place."""
        while task in self.replaced:
            task = self.replaced[task]
        return task

    def succeeded(self, task: TaskId) -> bool:
        done = self.done.get(task)
        return done is not None and isinstance(done.outcome, Succeeded)

    def value(self, task: TaskId) -> Any:
        """The result of a task that has succeeded, None of any other."""
        done = self.done.get(task)
        outcome = done.outcome if done else None
        return outcome.value if isinstance(outcome, Succeeded) else None

    def unsupported(self, task: TaskId) -> tuple[str, ...]:
        """The numbers of a result that no result of a tool says."""
        done = self.done.get(task)
        outcome = done.outcome if done else None
        return outcome.unsupported if isinstance(outcome, Succeeded) else ()

    def failure(self, task: TaskId) -> Failed | None:
        done = self.done.get(task)
        outcome = done.outcome if done else None
        return outcome if isinstance(outcome, Failed) else None

    def settled_failures(self) -> set[TaskId]:
        """What revisions were told of that have ended, and have not given up.

        An answer that asked for more is settled by a revision that knows of nothing more, too: it
        is then written from what there is.
        """
        settled: set[TaskId] = set()
        for revision, end in self.plan_ends.items():
            told = self.ready.get(plan_task(revision))
            if told is not None:
                kept = end.gave_up is None
                settled |= {task for task in told.failed if kept or is_reserved(task)}
        return settled

    def is_gone(self, task: TaskId) -> bool:
        """Whether the plan does without it, or what it is a part of is settled or gone."""
        while True:
            if task in self.gone:
                return True
            owner = self.owner.get(task)
            if owner is None:
                return False
            task = owner
            if task in self.done:
                return True

    def in_plan_order(self) -> list[Planned]:
        """The plan's own tasks, then those of nested plans."""
        return sorted(self.planned.values(), key=place)

    def usage(self) -> Usage:
        """What the finished tasks have used, and the steps of the others as far as they are here.

        Where nobody who worked on a task wrote its outcome, its steps count too.
        """
        total = Usage()
        for done in self.done.values():
            total = total.plus(done.usage)
        for (task, _), step in self.steps.items():
            known = self.done.get(task)
            if known is None or known.attempt == 0:
                total = total.plus(step_usage(step))
        return total


def place(planned: Planned) -> tuple[str, int, int]:
    """What the order of a plan is: its own tasks by revision and number, then nested ones."""
    return planned.parent or "", planned.revision, planned.n
