"""What becomes of a failure: the plan is revised, or the job fails.

    a task fails ─▶ whoever is planning finishes ─▶ ready plan-2, which names the failures
         ▲                                             │ planned, planned … what stands for what
         └── another failure ◀── mended, or done without ◀── plan.2.end, and what it drops

What is finished keeps its results, and what runs goes on unless the revision does without it. A
failure that an ended revision was told of, and for which nothing stands, is done without: and so is
whatever needs it. Revisions are counted (`JobSpec.revisions`), and two in a row of which no task
succeeded are a stall.
"""

from typing import Final

import msgspec

from galerne.core.groups import is_planning
from galerne.core.state import JobState
from galerne.errors import IncompleteError
from galerne.messages.facts import JobSpec
from galerne.messages.ids import ANSWER_TASK, TaskId, answer_task, is_reserved, plan_task
from galerne.messages.plan import Failed

STALLED: Final = 2
"""Revisions in a row without a success after which another one is not tried."""

SAME: Final = 60
"""Characters by which a reason is known to be one that was told before."""


class Revise(msgspec.Struct, frozen=True):
    """The next revision's number, and the failures that it is to mend."""

    revision: int
    failed: tuple[TaskId, ...]


class Hopeless(msgspec.Struct, frozen=True):
    """Why the job fails, in one line; `failed` is the task at fault."""

    failed: TaskId
    why: str


def judge(state: JobState, job: JobSpec) -> Revise | Hopeless | None:
    """None: nothing has failed, or it is being mended."""
    failures = open_failures(state)
    if not failures:
        return None
    for task in failures:
        if not _is_mendable(state, job, task):
            return Hopeless(task, "")
    last = latest(state)
    if plan_task(last) in state.done or _is_given(job, last):
        why = _why_not_again(state, job, last)
        return Revise(last + 1, failures) if why is None else Hopeless(failures[0], why)
    return None


def open_failures(state: JobState) -> tuple[TaskId, ...]:
    """The tasks whose failure no revision has settled, in the order in which they failed."""
    left = [
        task
        for task in state.failed - state.out_of_budget - state.settled_failures()
        if not state.is_gone(task) and not _is_told_by_its_group(state, task)
    ]
    return tuple(sorted(left, key=lambda task: (state.done[task].at, task)))


def latest(state: JobState) -> int:
    """The number of the last revision that was begun."""
    revision = 1
    while (ready := state.ready.get(plan_task(revision + 1))) is not None and ready.failed:
        revision += 1
    return revision


def may_revise(state: JobState, job: JobSpec) -> bool:
    """Whether another revision could be asked for once the present one is done."""
    return _why_not_again(state, job, latest(state)) is None


def answers_asked_for_more(state: JobState) -> int:
    """How many tries at the answer ended with a word of what is missing."""
    count = 0
    while _code(state, answer_task(count + 1)) == IncompleteError.code:
        count += 1
    return count


def _is_told_by_its_group(state: JobState, task: TaskId) -> bool:
    """A nested plan that cannot be written is the failure of the task that it is for."""
    return task in state.owner and is_planning(task)


def _is_mendable(state: JobState, job: JobSpec, task: TaskId) -> bool:
    if not job.revisions:
        return False
    return not is_reserved(task) or (
        task.startswith(ANSWER_TASK) and _code(state, task) == IncompleteError.code
    )


def _code(state: JobState, task: TaskId) -> str | None:
    failure: Failed | None = state.failure(task)
    return failure.code if failure else None


def _is_given(job: JobSpec, revision: int) -> bool:
    return revision == 1 and job.plan is not None


def _why_not_again(state: JobState, job: JobSpec, last: int) -> str | None:
    """Why there is no revision after `last`; None: there may be one."""
    if plan_task(last + 1) in state.ready or plan_task(last + 1) in state.done:
        return "what stands in the log as its next revision is none"
    end = state.plan_ends.get(last)
    if end is not None and end.gave_up is not None:
        return _given_up(state, end.gave_up)
    if last - 1 >= (job.revisions or 0):
        return f"the plan was revised {last - 1} times, which is the limit" if last > 1 else ""
    fruitless = [revision for revision in range(2, last + 1) if not _bore_fruit(state, revision)]
    if fruitless[-STALLED:] == list(range(last + 1 - STALLED, last + 1)) and last > STALLED:
        return f"the job has stalled: nothing of its last {STALLED} revisions succeeded"
    return None


def _given_up(state: JobState, why: str) -> str:
    """The planner's reason, where it is not the failure's own."""
    failures = [state.failure(task) for task in open_failures(state)]
    if any(failure and why[:SAME] in failure.message for failure in failures):
        return "the planner knows no other way"
    return f"it cannot be mended: {why}"


def _bore_fruit(state: JobState, revision: int) -> bool:
    """Whether a task of it, or a part of one, has succeeded; one that only drops does no harm."""
    own = [one.task.id for one in state.planned.values() if one.revision == revision]
    if not own:
        return True
    parts = {part for part, owner in state.owner.items() if owner in own}
    return any(state.succeeded(task) for task in (*own, *parts))
