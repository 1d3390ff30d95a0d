"""What to write next, as a function of a job's state.

    submitted ──▶ ready plan-1 ──▶ planned… ──▶ ready t… ──▶ done t… ──▶ ready answer ──▶ ended
        │                            │ (a task starts while the plan is still being written)
        │                            ├─ wants a person's word: asked ──▶ decided ──▶ ready, or done
        │                            └─ is done through others: ready parts… ──▶ done
        └─ given or reviewed: planned… by the coordinator (`given`)
    ready t ──(its worker asks and parks it)──▶ decided ──▶ ready t again (`resume`)
    a task failed, or the answer lacks something ──▶ ready plan-2 … (`revisions`)
    cancelled, failed for good, out of budget or time ──────────────────────────────────▶ ended

Two coordinators with the same facts decide the same; the second write conflicts and is dropped.
A task that has an outcome never gets another `ready` fact.
"""

import math

import msgspec

from galerne.core import ends, given, groups, revisions, starts
from galerne.core.rules import DEFAULT, Rules
from galerne.core.state import JobState
from galerne.errors import DeadlineError
from galerne.messages.facts import AnyFact, Asked, Decided, JobSpec, Ready
from galerne.messages.ids import TaskId, answer_task, plan_task
from galerne.messages.plan import DROPPED, Failed

WITHOUT_IT = "a revision of the plan does without it"
TIME_IS_OVER = "the time that the plan gave this task is over"


def decide(state: JobState, now: float, rules: Rules = DEFAULT) -> list[AnyFact]:
    """The facts that the log still lacks, given what it holds. `now` is Unix seconds."""
    job = state.job
    if job is None or state.ended is not None:
        return []
    over = ends.ended(state, job, now)
    if over is not None:
        return [over]
    if state.out_of_budget:
        return _resumed(state)  # what is running may finish, as it is paid for
    facts: list[AnyFact] = _planning(state, job, now, rules)
    facts += [starts.begin(state, job, task, now, rules) for task in ends.may_start(state, job)]
    facts += [
        starts.settled(task, groups.outcome(state, task), now) for task in sorted(state.complete)
    ]
    facts += [starts.settled(task, Failed(DROPPED, WITHOUT_IT), now) for task in _unwanted(state)]
    facts += _resumed(state)
    if _may_answer(state, job):
        facts.append(starts.answer(state, job, now, rules))
    return facts


def _planning(state: JobState, job: JobSpec, now: float, rules: Rules) -> list[AnyFact]:
    """The first plan, from wherever it comes, and the revision that a failure asks for."""
    facts: list[AnyFact] = list(given.next_facts(state, job, now, rules))
    first = plan_task(1)
    if job.plan is None and first not in state.ready and first not in state.done:
        facts.append(starts.first_plan(job, now, rules))
    match revisions.judge(state, job):
        case revisions.Revise() as revise:
            facts.append(starts.next_plan(state, job, revise, now, rules))
        case _:
            pass
    return facts


def overdue(state: JobState, now: float) -> list[AnyFact]:
    """What the clock alone has decided by `now`: questions and tasks whose time is over."""
    if state.job is None or state.ended is not None:
        return []
    facts: list[AnyFact] = [
        Decided(
            task=ask.task,
            n=ask.n,
            round=ask.round,
            verdict="expired",
            why="nobody decided in time",
            at=now,
        )
        for ask in state.asks.overdue(now)
    ]
    for task in sorted(state.under_way):
        deadline = state.ready[task].deadline
        if deadline is not None and deadline <= now:
            facts.append(starts.settled(task, Failed(DeadlineError.code, TIME_IS_OVER), now))
    return facts


def due(fact: AnyFact) -> float | None:
    """The Unix time at which a job has to be looked at again, because of this fact."""
    match fact:
        case Asked(until=until):
            return until
        case Ready(deadline=deadline):
            return deadline
        case _:
            return None


def due_of_job(state: JobState) -> float | None:
    """The Unix time at which a job's own time is over."""
    job = state.job
    if job is None or state.ended is not None:
        return None
    deadline = math.inf if job.deadline is None else job.deadline
    if job.budget is not None and job.budget.seconds is not None:
        deadline = min(deadline, (state.submitted_at or 0.0) + job.budget.seconds)
    return None if math.isinf(deadline) else deadline


def _unwanted(state: JobState) -> list[TaskId]:
    """What runs although the plan does without it by now."""
    if not state.gone and state.failed.isdisjoint(state.groups):
        return []
    return [task for task in sorted(state.under_way) if state.is_gone(task)]


def _resumed(state: JobState) -> list[AnyFact]:
    """Tasks that a person has answered: they are under way, and their job waits for them."""
    return [
        msgspec.structs.replace(state.ready[task], resume=state.asks.answered[task])
        for task in sorted(state.to_resume)
    ]


def _may_answer(state: JobState, job: JobSpec) -> bool:
    answer = answer_task(revisions.answers_asked_for_more(state) + 1)
    last = plan_task(revisions.latest(state))
    return (
        given.is_written(state, job)
        and (last == plan_task(1) or state.succeeded(last))
        and not state.unfinished
        and not revisions.open_failures(state)
        and answer not in state.ready
        and answer not in state.done
    )
