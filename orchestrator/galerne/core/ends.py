"""Whether a job is over, and how.

    cancelled ▸ answered ▸ the plan was refused, a task failed for good, or nothing can move
    ▸ its deadline
    ▸ out of budget, once what was running has finished: it is paid for, so it counts

The first of them that holds is the job's end.
"""

import math
from typing import Any

import msgspec

from galerne.core.given import is_given, is_written, refusal
from galerne.core.revisions import Hopeless, answers_asked_for_more, judge, open_failures
from galerne.core.shorten import shorten
from galerne.core.state import JobState, place
from galerne.core.usage import would_have
from galerne.errors import PermanentError
from galerne.messages.facts import AnyFact, Ended, JobSpec, JobStatus, Planned
from galerne.messages.ids import TaskId, answer_task, below, plan_task
from galerne.messages.plan import Failed, Succeeded, TaskSpec, Usage

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
    answer = state.done.get(answer_task(answers_asked_for_more(state) + 1))
    if answer is not None and isinstance(answer.outcome, Succeeded):
        end = Ended(
            status="succeeded",
            usage=Usage(),
            at=now,
            result=answer.outcome.value,
            unsupported=answer.outcome.unsupported,
        )
        return _with_usage(state, end)
    why = refusal(state) or _why_failed(state, job)
    if why is not None:
        return _end(state, "failed", now, why)
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


def may_start(state: JobState, job: JobSpec) -> list[TaskSpec]:
    """The tasks that miss nothing and that the budget has a place for, in plan order.

    A budget of n tasks is for the first n of the plan. Counting those that were started instead
    would let coordinators with different views start different ones. Parts of lists and nested
    plans get the places that the plan leaves, in the order of their ids.
    """
    most = job.budget.tasks if job.budget else None
    own = [state.planned[task] for task in state.startable if _is_own(state, task)]
    parts = sorted(task for task in state.startable if not _is_own(state, task))
    if most is not None:
        own = [one for one in own if _place_in_plan(state, one) <= most]
        parts = parts[: _places_left(state, most)]
    in_order = [one.task for one in sorted(own, key=place)]
    return in_order + [spec for task in parts if (spec := state.spec(task)) is not None]


def _is_own(state: JobState, task: TaskId) -> bool:
    """Whether it stands in the plan itself, and is no part of one of its tasks."""
    return task in state.planned and task not in state.owner


def _places_left(state: JobState, most: int) -> int:
    own = sum(map(len, state.numbers.values())) - sum(_is_own(state, task) for task in state.groups)
    parts = sum(not _is_own(state, task) for task in state.started)
    return max(0, most - min(most, own) - parts)


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


def _why_failed(state: JobState, job: JobSpec) -> str | None:
    """Why the job cannot come to its answer; None: it may."""
    verdict = judge(state, job)
    if isinstance(verdict, Hopeless):
        return _of_the_failure(state, verdict)
    if not _is_stuck(state, job):
        return None
    if _lacks_tasks(state, job):
        return "the plan is incomplete: some of its tasks could not be read"
    names = ", ".join(sorted(state.unfinished)[:10])
    return f"tasks {names} wait for one another or for tasks that nobody planned"


def _of_the_failure(state: JobState, verdict: Hopeless) -> str:
    failed = verdict.failed
    failure = state.failure(failed)
    message = failure.message if failure else "nobody knows why"
    if failed != plan_task(1) and failed.startswith("plan-"):
        return f"{_first_failure(state, failed)}planning anew failed: {message}"
    what = "planning" if failed.startswith("plan-") else f"task {failed}"
    why = f"; {verdict.why}" if verdict.why else ""
    return f"{what} failed: {message}{why}"


def _first_failure(state: JobState, plan: TaskId) -> str:
    """What a revision was to mend, in the words of the first of it."""
    ready = state.ready.get(plan)
    for task in ready.failed if ready else ():
        failure = state.failure(task)
        if failure is not None:
            return f"task {task} failed: {failure.message}; "
    return ""


def _is_stuck(state: JobState, job: JobSpec) -> bool:
    """Whether nothing that is under way or may start can move the job any more."""
    if not is_written(state, job):
        return False
    if _lacks_tasks(state, job):
        return True
    moving = (
        state.startable
        or state.under_way
        or state.complete
        or state.asks.waiting
        or state.out_of_budget
    )
    return bool(state.unfinished) and not moving and not open_failures(state)


def _lacks_tasks(state: JobState, job: JobSpec) -> bool:
    """A planner commits its outcome after all its tasks, so a missing one stays missing."""
    own = (
        len(state.numbers.get(revision, ())) < end.count
        for revision, end in state.plan_ends.items()
        if _is_committed(state, job, revision)
    )
    nested = (
        len(state.nested.get(task, ())) < end.count
        for task, end in state.nested_ends.items()
        if state.succeeded(below(task, "plan"))
    )
    return any(own) or any(nested)


def _is_committed(state: JobState, job: JobSpec, revision: int) -> bool:
    """Whether whoever writes a revision has written all of it."""
    if revision > 1 or not is_given(job):
        return state.succeeded(plan_task(revision))
    return bool(state.spoiled.get(revision))
