"""Whether a job is over, and how.

    cancelled ▸ answered ▸ a task failed for good, or nothing can move ▸ its deadline
    ▸ out of budget, once what was running has finished: it is paid for, so it counts

The first of them that holds is the job's end.
"""

import math
from typing import Any

import msgspec

from galerne.core.shorten import shorten
from galerne.core.state import JobState
from galerne.core.usage import would_have
from galerne.errors import PermanentError
from galerne.messages.facts import AnyFact, Ended, JobSpec, JobStatus, Planned
from galerne.messages.ids import ANSWER_TASK, plan_task
from galerne.messages.plan import Failed, Succeeded, Usage

TOO_LARGE_A_TASK = "the next task cannot be stored: "
TOO_LARGE_A_RESULT = "its result cannot be stored: "
MOST_RESULTS = 2_400
"""Results of finished tasks in an end without an answer: the rest is in the log."""
RESULTS_LIMIT = 96_000
"""Characters of all of them."""


def ended(state: JobState, job: JobSpec, now: float) -> Ended | None:
    """The job's end, if its facts already settle it."""
    if state.cancelled is not None:
        return _end(state, "cancelled", now, state.cancelled.why)
    answer = state.done.get(ANSWER_TASK)
    if answer is not None and isinstance(answer.outcome, Succeeded):
        value = answer.outcome.value
        return _with_usage(state, Ended(status="succeeded", usage=Usage(), at=now, result=value))
    if len(state.failed) > len(state.out_of_budget) or _is_stuck(state):
        return _end(state, "failed", now, _why_failed(state))
    if job.deadline is not None and now >= job.deadline:
        return _end(state, "deadline_exceeded", now, "the job's deadline has passed")
    seconds = job.budget.seconds if job.budget else None
    if seconds is not None and now >= (state.submitted_at or now) + seconds:
        why = f"the budget of {seconds:g} seconds is used up"
        return _end(state, "budget_exhausted", now, why)
    if _is_exhausted(state, job):
        return _end(state, "budget_exhausted", now, _why_exhausted(state, job))
    return None


def undecidable(error: Exception, now: float) -> Ended:
    """The end of a job that no coordinator can decide."""
    why = f"its next step cannot be decided: {type(error).__name__}: {error}"
    return Ended(status="failed", usage=Usage(), at=now, error=why)


def unstorable(fact: AnyFact, problem: PermanentError, usage: Usage, now: float) -> Ended:
    """The end of a job whose next fact the server will never take."""
    what = TOO_LARGE_A_RESULT if isinstance(fact, Ended) else TOO_LARGE_A_TASK
    return Ended(status="failed", usage=usage, at=now, error=f"{what}{problem}")


def is_refusal(ended: Ended) -> bool:
    """Whether the server's refusal ended the job: nothing in its facts says so."""
    refusals = (TOO_LARGE_A_TASK, TOO_LARGE_A_RESULT)
    return ended.status == "failed" and (ended.error or "").startswith(refusals)


def _end(state: JobState, status: JobStatus, now: float, why: str) -> Ended:
    """An end without an answer; what ran out of budget or time shows what it has."""
    result: Any = None
    if status in {"budget_exhausted", "deadline_exceeded"}:
        result = {"results": _fitted_results(state)}
    end = Ended(status=status, usage=Usage(), at=now, error=why, result=result)
    return _with_usage(state, end)


def _with_usage(state: JobState, end: Ended) -> Ended:
    used = state.usage()
    planning = state.done.get(plan_task(1))
    instead = would_have(planning.usage, used) if planning else None
    return msgspec.structs.replace(end, usage=used, would_have=instead)


def _fitted_results(state: JobState) -> dict[str, Any]:
    """The values of the finished tasks, in plan order."""
    finished = [one.task.id for one in state.in_plan_order() if state.succeeded(one.task.id)]
    finished = finished[:MOST_RESULTS]
    share = RESULTS_LIMIT // max(1, len(finished))
    return {task: shorten(state.value(task), share) for task in finished}


def may_start(state: JobState, job: JobSpec) -> list[Planned]:
    """The tasks that miss nothing and that the budget has a place for, in plan order.

    A budget of n tasks is for the first n of the plan. Counting those that were started instead
    would let coordinators with different views start different ones.
    """
    most = job.budget.tasks if job.budget else None
    tasks = [state.planned[task] for task in state.startable]
    if most is not None:
        tasks = [one for one in tasks if _place_in_plan(state, one) <= most]
    return sorted(tasks, key=lambda one: (one.revision, one.n))


def _place_in_plan(state: JobState, planned: Planned) -> float:
    """Of a task among all of the plan, from 1; infinite while an earlier revision is written."""
    place = planned.n
    for revision in range(1, planned.revision):
        end = state.plan_ends.get(revision)
        if end is None:
            return math.inf
        place += end.count
    return place


def _is_exhausted(state: JobState, job: JobSpec) -> bool:
    """Whether what the budget allows is done.

    Without money for a model call nothing more is started, and no person is waited for. Tasks
    beyond the last place wait until those before it are over.
    """
    if state.out_of_budget:
        return state.under_way <= state.asks.waiting.keys()
    if job.budget is None or job.budget.tasks is None or not state.startable:
        return False
    return not (state.under_way or state.asks.waiting or may_start(state, job))


def _why_exhausted(state: JobState, job: JobSpec) -> str:
    for task in sorted(state.out_of_budget, key=lambda task: (state.done[task].at, task)):
        outcome = state.done[task].outcome
        if isinstance(outcome, Failed):
            return outcome.message
    tasks = job.budget.tasks if job.budget else None
    return f"the budget of {tasks} tasks is used up"


def _why_failed(state: JobState) -> str:
    faulty = state.failed - state.out_of_budget
    for task in sorted(faulty, key=lambda task: (state.done[task].at, task)):
        outcome = state.done[task].outcome
        if isinstance(outcome, Failed):
            what = "planning" if task.startswith("plan-") else f"task {task}"
            return f"{what} failed: {outcome.message}"
    if state.succeeded(plan_task(1)) and _lacks_tasks(state):
        return "the plan is incomplete: some of its tasks could not be read"
    names = ", ".join(sorted(state.unfinished)[:10])
    return f"tasks {names} wait for one another or for tasks that nobody planned"


def _is_stuck(state: JobState) -> bool:
    """Whether nothing that is under way or may start can move the job any more."""
    if not state.succeeded(plan_task(1)):
        return False
    if _lacks_tasks(state):
        return True
    moving = state.startable or state.under_way or state.asks.waiting or state.out_of_budget
    return bool(state.unfinished) and not moving


def _lacks_tasks(state: JobState) -> bool:
    """A planner commits its outcome after all its tasks, so a missing one stays missing."""
    return any(
        len(state.numbers.get(revision, ())) < end.count
        for revision, end in state.plan_ends.items()
    )
