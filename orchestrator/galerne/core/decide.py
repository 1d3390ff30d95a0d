"""What to write next, as a function of a job's state.

    submitted ──▶ ready plan-1 ──▶ planned… ──▶ ready t… ──▶ done t… ──▶ ready answer ──▶ ended
                                     │ (a task starts while the plan is still being written)
                                     ├─ wants a person's word: asked ──▶ decided ──▶ ready, or done
    ready t ──(its worker asks and parks it)──▶ decided ──▶ ready t again (`resume`)
    cancelled, failed for good, out of budget or time ──────────────────────────────────▶ ended

Two coordinators with the same facts decide the same; the second write conflicts and is dropped.
A task that has an outcome never gets another `ready` fact.
"""

import math

import msgspec

from galerne.core import ends, starts
from galerne.core.rules import DEFAULT, Rules
from galerne.core.state import JobState
from galerne.errors import DeadlineError
from galerne.messages.facts import AnyFact, Asked, Decided, Ready
from galerne.messages.ids import ANSWER_TASK, plan_task
from galerne.messages.plan import Failed

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
    facts: list[AnyFact] = []
    if plan_task(1) not in state.ready and plan_task(1) not in state.done:
        facts.append(starts.first_plan(job, now, rules))
    facts += [
        starts.begin(state, job, planned.task, now, rules) for planned in ends.may_start(state, job)
    ]
    facts += _resumed(state)
    if _may_answer(state):
        facts.append(starts.answer(state, job, now, rules))
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


def _resumed(state: JobState) -> list[AnyFact]:
    """Tasks that a person has answered: they are under way, and their job waits for them."""
    return [
        msgspec.structs.replace(state.ready[task], resume=state.asks.answered[task])
        for task in sorted(state.to_resume)
    ]


def _may_answer(state: JobState) -> bool:
    return (
        state.succeeded(plan_task(1))
        and not state.unfinished
        and ANSWER_TASK not in state.ready
        and ANSWER_TASK not in state.done
    )
